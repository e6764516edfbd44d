package conformance

import (
	"os"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/sidebyside"
)

func TestMain(m *testing.M) { os.Exit(sidebyside.Run(m)) }
