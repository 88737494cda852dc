package command

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"weir/ingest/broker/access"
)

func runUsers(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"hash", usersHash},
	)
}

func usersHash(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("hash", flag.ContinueOnError)
	if err := c.onlyFlags(fs, "Read a password from standard input and print its bcrypt hash for the users file.", "printf %s 'correct horse' | weir users hash"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c.stdin).ReadString('\n')
	password := strings.TrimRight(line, "\r\n")
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password from standard input: %w", err)
	}
	if password == "" {
		return &usageError{c.name + ": there is no password on standard input", "printf %s 'correct horse' | weir users hash"}
	}
	h, err := access.HashPassword([]byte(password))
	if err != nil {
		return &usageError{fmt.Sprintf("%s: %v", c.name, err), ""}
	}
	return c.print([]byte(h + "\n"))
}
