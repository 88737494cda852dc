package window

import "math"

// expansion is a sum of float64 without rounding: parts that do not overlap,
// the smallest first, none of them zero (J. R. Shewchuk, "Adaptive Precision
// Floating-Point Arithmetic", 1997). It is exact as long as no sum leaves the
// range of float64: see maxNumber. Its methods return the new expansion in place
// of the old one, as append does.
type expansion []float64

// twoSum returns the rounded sum and what rounding took from it (Knuth).
func twoSum(a, b float64) (sum, err float64) {
	sum = a + b
	bb := sum - a
	return sum, (a - (sum - bb)) + (b - bb)
}

// twoProduct returns the rounded product and what rounding took from it.
func twoProduct(a, b float64) (product, err float64) {
	product = a * b
	return product, math.FMA(a, b, -product)
}

func (e expansion) add(x float64) expansion {
	n := 0
	for _, p := range e {
		sum, err := twoSum(x, p)
		if err != 0 {
			e[n] = err
			n++
		}
		x = sum
	}
	if x == 0 {
		return e[:n]
	}
	return append(e[:n], x)
}

// addProduct adds a times b.
func (e expansion) addProduct(a, b float64) expansion {
	p, err := twoProduct(a, b)
	if err != 0 {
		e = e.add(err)
	}
	return e.add(p)
}

// addScaled adds a times b.
func (e expansion) addScaled(a expansion, b float64) expansion {
	for _, x := range a {
		e = e.addProduct(x, b)
	}
	return e
}

// subProducts takes a times b away.
func (e expansion) subProducts(a, b expansion) expansion {
	for _, x := range a {
		e = e.addScaled(b, -x)
	}
	return e
}

// value returns the float64 nearest to the sum, the even one of two that are
// equally near: there is one such number, whatever the parts are.
func (e expansion) value() float64 {
	i := len(e) - 1
	if i < 0 {
		return 0
	}
	sum := e[i]
	for i > 0 {
		i--
		var err float64
		sum, err = twoSum(sum, e[i])
		if err == 0 {
			continue
		}
		// The parts below decide only where err is exactly half a step: then
		// rounding went to even, and should have gone where they point.
		if i > 0 && (err > 0) == (e[i-1] > 0) {
			if up := sum + 2*err; up-sum == 2*err {
				sum = up
			}
		}
		break
	}
	return sum
}

// exact is an expansion that is kept: what was added and taken away again
// leaves no trace, so the sum depends on what is in it and not on how it came
// about. Measurements of one field need one or two parts.
type exact struct {
	few  [2]float64 // up to two parts, then zeros; not used if there is more
	more *expansion // all parts, once they were more than two
}

// parts returns the parts, which are not to be changed; buf may hold them.
func (e *exact) parts(buf *[2]float64) expansion {
	if e.more != nil {
		return *e.more
	}
	*buf = e.few
	switch {
	case buf[0] == 0:
		return buf[:0]
	case buf[1] == 0:
		return buf[:1]
	}
	return buf[:]
}

func (e *exact) add(x float64) {
	if e.more != nil {
		*e.more = e.more.add(x)
		return
	}
	var buf [3]float64
	n := 0
	for _, p := range e.few {
		if p == 0 {
			break
		}
		sum, err := twoSum(x, p)
		if err != 0 {
			buf[n] = err
			n++
		}
		x = sum
	}
	if x != 0 {
		buf[n] = x
		n++
	}
	if n > len(e.few) {
		more := make(expansion, n, n+1)
		copy(more, buf[:n])
		e.more = &more
		return
	}
	e.few = [2]float64{buf[0], buf[1]}
}

// addProduct adds a times b.
func (e *exact) addProduct(a, b float64) {
	p, err := twoProduct(a, b)
	if err != 0 {
		e.add(err)
	}
	e.add(p)
}

func (e *exact) value() float64 {
	var buf [2]float64
	return e.parts(&buf).value()
}

// clear makes the sum zero. What had many parts is likely to have them again.
func (e *exact) clear() {
	e.few = [2]float64{}
	if e.more != nil {
		*e.more = (*e.more)[:0]
	}
}
