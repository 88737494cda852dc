package window

// sums are the sums of the numbers and of their squares.
type sums struct {
	squared      bool
	sum, squares exact
}

// add adds a number, or with sign = -1 takes it away.
func (m *sums) add(x, sign float64) {
	m.sum.add(sign * x)
	if m.squared {
		m.squares.addProduct(sign*x, x)
	}
}

// variance returns the variance of n numbers as a population. It is computed
// without rounding but for the last steps, so there is no cancellation: equal
// numbers give 0.
func (m *sums) variance(n int) float64 {
	var buf [48]float64
	v := expansion(buf[:0]).addScaled(m.squares.parts, float64(n)).subProducts(m.sum.parts, m.sum.parts)
	return max(0, v.value()/float64(n)/float64(n))
}

// times are sums for the line through the samples. Times count from that of the
// sample that was first in the empty window; as the sums are exact, the line
// does not depend on it.
type times struct {
	set     bool
	origin  int64
	t, tt   exact
	product exact // of time and number
}

// add adds a sample, or with sign = -1 takes it away.
func (m *times) add(t int64, x, sign float64) {
	if !m.set {
		m.set, m.origin = true, t
	}
	d := t - m.origin
	hi := float64(d) // rounded beyond 2^53 ns, 104 days
	m.addPart(hi, x, sign)
	m.tt.addProduct(sign*hi, hi)
	if lo := float64(d - int64(hi)); lo != 0 {
		m.addPart(lo, x, sign)
		m.tt.addProduct(sign*2*hi, lo)
		m.tt.addProduct(sign*lo, lo)
	}
}

func (m *times) addPart(d, x, sign float64) {
	m.t.add(sign * d)
	m.product.addProduct(sign*d, x)
}

// slope returns the slope of the least-squares line through n samples, per
// second, and false if they are all at one time.
func (m *times) slope(sum *exact, n int) (float64, bool) {
	var buf, buf2 [48]float64
	num := expansion(buf[:0]).addScaled(m.product.parts, float64(n)).subProducts(m.t.parts, sum.parts)
	den := expansion(buf2[:0]).addScaled(m.tt.parts, float64(n)).subProducts(m.t.parts, m.t.parts)
	d := den.value()
	return num.value() / d * 1e9, d > 0
}

func (m *times) clear() {
	m.set = false
	m.t.clear()
	m.tt.clear()
	m.product.clear()
}
