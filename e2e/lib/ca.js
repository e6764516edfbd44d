// The certificate authority of one run. Node cannot issue certificates, so openssl does.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

// Every name a server of this suite goes by. The provider is reached as 127.0.0.1, which is another site than app.test
// and needs no name service, so gateway, API and browsers all agree on it.
const names = [
  'DNS:app.test', 'DNS:sibling.app.test', 'DNS:api.app.test', 'DNS:front.app.test', 'DNS:evil.test', 'DNS:localhost', 'IP:127.0.0.1',
  'DNS:app.shop.test', 'DNS:evil.shop.test', // the laboratory's app, and its attacker on a sibling host
]

/** Makes a CA and one server certificate in dir, and a home folder whose Chromium trusts the CA. */
export function makeCA(dir) {
  const file = name => join(dir, name)
  const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Cloakroom test CA',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign')
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=app.test')
  writeFileSync(file('server.ext'), `subjectAltName=${names.join(',')}\nextendedKeyUsage=serverAuth\n`)
  openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
    '-out', 'server.pem', '-extfile', 'server.ext')

  trust(join(dir, 'home', '.pki', 'nssdb'), file('ca.pem')) // where Chromium looks, under HOME
  return { ca: file('ca.pem'), cert: file('server.pem'), key: file('server.key'), home: join(dir, 'home') }
}

/** Makes the certificate database folder db, as Chromium and Firefox read it, and puts the CA into it. */
export function trust(db, ca) {
  mkdirSync(db, { recursive: true })
  execFileSync('certutil', ['-N', '-d', `sql:${db}`, '--empty-password'], { stdio: 'pipe' })
  execFileSync('certutil', ['-A', '-d', `sql:${db}`, '-n', 'Cloakroom test CA', '-t', 'C,,', '-i', ca], { stdio: 'pipe' })
}
