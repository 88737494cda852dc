package window

// add adds a number to the sums, or with sign = -1 takes it away.
func (st *state) add(t int64, x, sign float64) {
	if st.summed {
		st.sum.add(sign * x)
	}
	if st.squares != nil {
		st.squares.addProduct(sign*x, x)
	}
	if st.times != nil {
		st.times.add(t, x, sign)
	}
}

// variance returns the variance of n numbers as a population. It is computed
// without rounding but for the last steps, so there is no cancellation: equal
// numbers give 0.
func (st *state) variance(n int) float64 {
	var buf [48]float64
	var b1, b2 [2]float64
	sum := st.sum.parts(&b1)
	v := expansion(buf[:0]).addScaled(st.squares.parts(&b2), float64(n)).subProducts(sum, sum)
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
	hi, lo := m.since(t)
	m.addPart(hi, x, sign)
	m.tt.addProduct(sign*hi, hi)
	if lo != 0 {
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
	var b1, b2, b3, b4 [2]float64
	t := m.t.parts(&b1)
	num := expansion(buf[:0]).addScaled(m.product.parts(&b2), float64(n)).subProducts(t, sum.parts(&b3))
	den := expansion(buf2[:0]).addScaled(m.tt.parts(&b4), float64(n)).subProducts(t, t)
	d := den.value()
	return num.value() / d * 1e9, d > 0
}

// predict returns where the least-squares line through n samples is some seconds
// after a time, and false if they are all at one time.
func (m *times) predict(sum *exact, n int, now int64, ahead float64) (float64, bool) {
	slope, ok := m.slope(sum, n)
	var buf [48]float64
	var b [2]float64
	hi, lo := m.since(now)
	beyond := expansion(buf[:0]).addScaled([]float64{hi, lo}, float64(n)) // behind the mean of the times, n times
	for _, t := range m.t.parts(&b) {
		beyond = beyond.add(-t)
	}
	return sum.value()/float64(n) + slope*(beyond.value()/float64(n)/1e9+ahead), ok
}

// since returns two numbers that come to the time from the origin to t exactly;
// the second is 0 up to 2^53 ns, 104 days.
func (m *times) since(t int64) (hi, lo float64) {
	const half = 1 << 61
	if t >= half || t < -half || m.origin >= half || m.origin < -half { // the difference may be no int64, or round to none
		return float64(t>>32-m.origin>>32) * (1 << 32), float64(t&(1<<32-1) - m.origin&(1<<32-1))
	}
	d := t - m.origin
	hi = float64(d)
	return hi, float64(d - int64(hi))
}

func (m *times) clear() {
	m.set = false
	m.t.clear()
	m.tt.clear()
	m.product.clear()
}
