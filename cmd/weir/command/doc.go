// Package command is weir's command line: flags in, text or JSON out.
//
//	run ─▶ command ─▶ flags ─▶ checks of the arguments ─▶ config ─▶ work ─▶ exit status
//	                                                        │
//	                 looking at data: is the data directory free? ─ yes ─▶ open it, ask the API in this process
//	                                                              └ no ──▶ ask the API of the weir that runs on it
//
// Data goes to standard output, everything said about it to standard error.
// What is wrong with the arguments is reported before anything is opened.
//
// Exit status: 0 done, 1 it failed, 2 the input (flags, config, rules) is
// wrong, 130 interrupted before it was done.
package command
