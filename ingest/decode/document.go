package decode

import (
	"fmt"
	"strings"

	"weir/ingest/event"
)

// A document format (JSON, later CBOR and others) walks a document and tells
// the decoder of each leaf. What a leaf is for the source is found once for
// each name and kept in a tree of nodes, the shape: its name as a field, or
// that it is the time, or that nobody wants it. A node also remembers which key
// followed it last time, so that a scanner can compare instead of looking up.

type shapeKey struct {
	src    *source
	prefix string
}

// shape is the names that have been seen in the documents of a source.
type shape struct {
	src    *source
	prefix string
	root   node
	tags   node             // root of the tags of line protocol, which are no fields
	byName map[string]*node // the leaves that are fields
}

// node is a name in a document.
type node struct {
	parent *node
	key    string
	quoted string // the key as it stands in JSON, with its last quote and a colon
	plain  bool   // the key stands in line protocol as it is
	path   string // in the document
	rel    string // below the source's root, if under
	under  bool   // a root of the source
	dead   bool   // neither it nor anything below it is wanted
	kids   map[string]*node
	items  []*node
	first  *node // the key that this object began with last time
	next   *node // the key that followed this one last time

	field bool   // a leaf here is a field
	name  string // of the field
	clash bool   // another node has the name too
	conv  *conversion
	roles []role

	// stamp is the document it was last seen in. If a key came twice there,
	// fields and roles before these counts that are it or below it don't count.
	stamp               uint64
	cutFields, cutFound int
}

// role is one that a leaf has: an index into source.picks. An exact one names
// the whole path, and counts before one that names the path below a root.
type role struct {
	pick  int
	exact bool
}

// document is the state of the document that is being decoded.
type document struct {
	sh     *shape
	stamp  uint64
	base   int     // index of its first field in the slab
	nodes  []*node // of its fields
	found  []found
	picked []event.Value // by index into source.picks, once it is complete
	exact  uint64        // the indexes that were picked by an exact role
	fresh  int           // nodes made for it
	dups   bool          // a key came twice in one object
	clash  bool          // two fields have the same name
	full   bool          // it passed a bound
}

// found is a leaf with a role.
type found struct {
	role  role
	node  *node
	value event.Value
}

// begin starts a document of topic t and returns its root.
func (d *Decoder) begin(t *topic) *node {
	if d.nodes > maxNodes || d.names > maxNames {
		clear(d.shapes)
		clear(d.topics)
		d.older, d.last, d.recorded = nil, nil, nil
		d.nodes, d.names, d.topicBytes = 0, 0, 0
		t.shape = nil
	}
	if t.shape == nil {
		key := shapeKey{t.src, t.field}
		sh := d.shapes[key]
		if sh == nil {
			sh = &shape{src: t.src, prefix: t.field, byName: map[string]*node{}}
			sh.root.name = "value"
			if t.field != "" {
				sh.root.name = t.field
			}
			name := sh.root.name
			sh.root.field = !matchAny(t.src.exclude, name, name) && (len(t.src.include) == 0 || matchAny(t.src.include, name, name))
			sh.root.conv = t.src.conversionOf(name, name)
			sh.root.renamed(t.src)
			d.shapes[key] = sh
			d.nodes++
		}
		t.shape = sh
	}
	doc := &d.doc
	doc.sh = t.shape
	doc.stamp++
	doc.base = len(d.b.FieldSlab)
	doc.nodes, doc.found = doc.nodes[:0], doc.found[:0]
	doc.fresh, doc.dups, doc.clash, doc.full = 0, false, false, false
	return &doc.sh.root
}

// child returns the node of a key of the object n. The key is copied if it is new.
func (d *Decoder) child(n *node, key []byte) *node {
	if c := n.kids[string(key)]; c != nil {
		return c
	}
	c := d.newNode(n, string(key))
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	n.kids[c.key] = c
	return c
}

// item returns the node of the i-th element of the array n.
func (d *Decoder) item(n *node, i int) *node {
	if i == len(n.items) {
		n.items = append(n.items, d.newNode(n, itoa(i)))
	}
	return n.items[i]
}

// seen notes that n stands in the document, and whether it did before: then
// the last one counts, and the fields before it that came from n don't.
func (d *Decoder) seen(n *node) {
	if n.stamp == d.doc.stamp {
		n.cutFields, n.cutFound, d.doc.dups = len(d.doc.nodes), len(d.doc.found), true
		return
	}
	n.stamp, n.cutFields, n.cutFound = d.doc.stamp, 0, 0
}

// leaf adds a value of the document.
func (d *Decoder) leaf(n *node, v event.Value) {
	for _, r := range n.roles {
		d.doc.found = append(d.doc.found, found{r, n, v})
	}
	if !n.field {
		return
	}
	if n.conv != nil {
		if v = n.conv.apply(v); v.Kind() == event.Null {
			return
		}
	}
	if n.clash {
		d.doc.clash = true
	}
	if len(d.doc.nodes) >= maxFields {
		d.doc.full = true
		return
	}
	d.doc.nodes = append(d.doc.nodes, n)
	d.b.FieldSlab = append(d.b.FieldSlab, event.Field{Name: n.name, Value: v})
}

// newNode works out what a name is for the source.
func (d *Decoder) newNode(parent *node, key string) *node {
	src := d.doc.sh.src
	n := &node{parent: parent, key: key, path: key}
	if parent.parent != nil {
		n.path = parent.path + "." + key
	}
	d.nodes++
	d.names += 2*len(key) + 2*len(n.path) + 64
	if d.doc.fresh++; d.doc.fresh > 2*maxFields {
		d.doc.full = true
	}
	n.quoted, n.plain = quotedKey(key), plainKey(key)
	n.place(src.roots)
	n.pickRoles(src)
	wanted := n.under && !matchAny(src.exclude, n.rel, n.path)
	n.dead = !wanted && len(n.roles) == 0 && !n.onTheWay(src)
	if !wanted || n.hidden(src) || len(src.include) > 0 && !matchAny(src.include, n.rel, n.path) {
		return n
	}
	n.field = true
	n.conv = src.conversionOf(n.rel, n.path)
	n.name = n.rel
	if pre := d.doc.sh.prefix; pre != "" {
		n.name = strings.TrimSuffix(pre+"."+n.rel, ".")
		if n.rel == "" {
			n.name = pre
		}
	} else if n.rel == "" && n.path != "" {
		n.name = key
	}
	n.renamed(src)
	if other := d.doc.sh.byName[n.name]; other != nil {
		n.clash, other.clash = true, true
	}
	d.doc.sh.byName[n.name] = n
	return n
}

// place finds the root that n is below.
func (n *node) place(roots []string) {
	for _, r := range roots {
		switch {
		case r == "":
			n.rel, n.under = n.path, true
		case n.path == r:
			n.rel, n.under = "", true
		case len(n.path) > len(r) && n.path[len(r)] == '.' && n.path[:len(r)] == r:
			n.rel, n.under = n.path[len(r)+1:], true
		default:
			continue
		}
		return
	}
}

func (n *node) pickRoles(src *source) {
	for i, p := range src.picks {
		if p == n.path || n.under && p == n.rel {
			n.roles = append(n.roles, role{i, p == n.path})
		}
	}
}

// hidden reports whether n is used up by its role, so that it is no field.
func (n *node) hidden(src *source) bool {
	for _, r := range n.roles {
		for _, t := range src.tags {
			if t.pick == r.pick {
				return true
			}
		}
		for _, t := range src.time.picks {
			if t == r.pick {
				return true
			}
		}
	}
	return false
}

// onTheWay reports whether something with a role, or a root, may be below n.
func (n *node) onTheWay(src *source) bool {
	below := func(p string) bool {
		return strings.HasPrefix(p, n.path) && len(p) > len(n.path) && p[len(n.path)] == '.' ||
			n.under && (n.rel == "" || strings.HasPrefix(p, n.rel) && len(p) > len(n.rel) && p[len(n.rel)] == '.')
	}
	for _, p := range src.picks {
		if below(p) {
			return true
		}
	}
	for _, r := range src.roots {
		if below(r) {
			return true
		}
	}
	return false
}

func (n *node) renamed(src *source) {
	if to, ok := src.rename[n.name]; ok {
		n.name = to
	}
}

// settle drops what a later duplicate replaced: keys that came twice, and
// different paths that have the same name.
func (d *Decoder) settle() {
	doc, slab := &d.doc, d.b.FieldSlab
	if doc.dups {
		keep := 0
		for i, n := range doc.nodes {
			if i >= doc.cut(n, fieldCut) {
				doc.nodes[keep], slab[doc.base+keep] = n, slab[doc.base+i]
				keep++
			}
		}
		doc.nodes, slab = doc.nodes[:keep], slab[:doc.base+keep]
		kept := doc.found[:0]
		for i, f := range doc.found {
			if i >= doc.cut(f.node, foundCut) {
				kept = append(kept, f)
			}
		}
		doc.found = kept
	}
	if doc.clash {
		at := make(map[string]int)
		keep := 0
		for i := range doc.nodes {
			f := slab[doc.base+i]
			if j, ok := at[f.Name]; ok {
				slab[doc.base+j] = f
				continue
			}
			at[f.Name] = keep
			slab[doc.base+keep] = f
			keep++
		}
		slab = slab[:doc.base+keep]
	}
	d.b.FieldSlab = slab
}

func fieldCut(n *node) int { return n.cutFields }
func foundCut(n *node) int { return n.cutFound }

// cut returns the index before which fields or roles of n were replaced by a
// later duplicate of its key or of one that it is below.
func (doc *document) cut(n *node, of func(*node) int) int {
	most := 0
	for ; n.parent != nil; n = n.parent {
		if n.stamp == doc.stamp {
			most = max(most, of(n))
		}
	}
	return most
}

func (d *Decoder) tooBig() error {
	return fmt.Errorf("more than %d fields or %d new names in one document; leave some out with exclude", maxFields, 2*maxFields)
}
