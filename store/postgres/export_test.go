package postgres

// Verifies reports whether the certificate of a DSN's server is verified, whatever it is, and nothing else is tried.
func Verifies(dsn string) (bool, error) {
	c, err := parse(dsn)
	if err != nil || c.TLSConfig == nil {
		return false, err
	}
	return !c.TLSConfig.InsecureSkipVerify && c.TLSConfig.ServerName == c.Host && len(c.Fallbacks) == 0, nil
}
