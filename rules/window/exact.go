package window

import "math"

// exact is a sum of float64 without rounding: what was added and taken away
// again leaves no trace, so the sum depends on what is in it and not on how it
// came about. It is an expansion (J. R. Shewchuk, "Adaptive Precision
// Floating-Point Arithmetic", 1997): parts that do not overlap, the smallest
// first, none of them zero. Measurements of one field need one to three parts.
//
// It is exact as long as no partial sum leaves the range of float64: see maxNumber.
type exact struct{ parts []float64 }

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

func (e *exact) add(x float64) {
	n := 0
	for _, p := range e.parts {
		sum, err := twoSum(x, p)
		if err != 0 {
			e.parts[n] = err
			n++
		}
		x = sum
	}
	e.parts = e.parts[:n]
	if x != 0 {
		if e.parts == nil {
			e.parts = make([]float64, 0, 4)
		}
		e.parts = append(e.parts, x)
	}
}

// addProduct adds a times b.
func (e *exact) addProduct(a, b float64) {
	p, err := twoProduct(a, b)
	if err != 0 {
		e.add(err)
	}
	e.add(p)
}

// addProducts adds the product of two sums.
func (e *exact) addProducts(a, b *exact, sign float64) {
	for _, x := range a.parts {
		for _, y := range b.parts {
			e.addProduct(sign*x, y)
		}
	}
}

// addScaled adds the product of a sum and a number.
func (e *exact) addScaled(a *exact, b float64) {
	for _, x := range a.parts {
		e.addProduct(x, b)
	}
}

// value returns the float64 nearest to the sum, the even one of two that are
// equally near: there is one such number, whatever the parts are.
func (e *exact) value() float64 {
	i := len(e.parts) - 1
	if i < 0 {
		return 0
	}
	sum := e.parts[i]
	for i > 0 {
		i--
		var err float64
		sum, err = twoSum(sum, e.parts[i])
		if err == 0 {
			continue
		}
		// The parts below decide only where err is exactly half a step: then
		// rounding went to even, and should have gone where they point.
		if i > 0 && (err > 0) == (e.parts[i-1] > 0) {
			if up := sum + 2*err; up-sum == 2*err {
				sum = up
			}
		}
		break
	}
	return sum
}

func (e *exact) clear() { e.parts = e.parts[:0] }
