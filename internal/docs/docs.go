// Package docs keeps the documentation true. Its tests make the pages that list what the code lists, run the commands that the
// README shows, read every configuration in the pages, and follow the links between them.
package docs

//go:generate go test -run TestPages -update
