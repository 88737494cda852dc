// Package configs is the configuration as users write it, weir.yaml, and the
// samples that ship with weir.
//
//	defaults ─▶ file ─▶ ${VAR} and ${file:...} ─▶ checks ─▶ Config
//	            YAML    in values only            ranges, forms, names, pairs;
//	            strict  (never in keys)           all problems at once
//
// It holds what users want, not what packages need: cmd/weir turns a Config
// into the settings of each package. So that a package that finds a problem
// later (a topic template that does not parse) can still point at the place,
// texts are strict.String, sections have Pos and Keys, and Config.At looks a
// key up.
//
// Names of files are relative to the configuration file; data_dir is relative
// to the working directory.
package configs
