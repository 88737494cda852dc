package configs

import (
	"embed"
	"io/fs"
)

//go:embed weir.yaml demo.yaml users.example.yaml rules
var samples embed.FS

// Demo returns the samples that are built into the binary, with demo.yaml and
// the rules that it names:
//
//	cfg, err := configs.LoadFS(configs.Demo(), "demo.yaml", os.Getenv)
func Demo() fs.FS { return samples }
