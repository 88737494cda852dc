// Package docs keeps README.md and the pages in docs true. Its tests take the
// pages apart and hold every part against the code and the built programs:
//
//	links and anchors          resolve
//	commands                   exist, and take the flags that are shown
//	yaml with groups           loads as rules; what is marked "refused" is refused, with the text that follows
//	yaml with a config         parses, and its sources compile
//	$ echo ... | weir decode   gives exactly the output that is shown
//	tables of expressions      give what they say
//	weir_... names             are the metrics that a running weir has, with their labels
//	lines of weir's log        are in the source, and the other way about
//	keys of the config         exist
//
// So a page can be wrong only in its prose.
package docs
