package configs

// FromSources returns the configuration that has these sources and is Default
// otherwise: for a file of another kind that holds sources. Like Parse it
// returns strict.Errors for what is wrong with them.
func FromSources(file string, sources []Source) (*Config, error) {
	c := Default()
	c.File, c.Sources = file, sources
	c.normalise()
	v := validator{c: c}
	v.sources()
	if err := v.errs.Err(); err != nil {
		return nil, err
	}
	return c, nil
}
