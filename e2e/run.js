// Runs the browser suite: builds the gateway, makes the run's certificates, and hands over to Node's own test runner.
// Arguments choose cases by name (`npm test -- login tabs`); without any, all of them run. E2E_CASES is another folder of cases.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { makeCA } from './lib/ca.js'

const slow = new Set(['rotation.test.js', 'lab.test.js']) // mostly waiting: begin first, beside the others

const here = import.meta.dirname
const folder = resolve(here, process.env.E2E_CASES ?? 'cases')
const wanted = process.argv.slice(2)
const names = readdirSync(folder).filter(file => file.endsWith('.test.js'))
const cases = names
  .filter(file => wanted.length === 0 || wanted.some(word => file.includes(word)))
  .sort((a, b) => slow.has(b) - slow.has(a))
  .map(file => join(folder, file))
if (cases.length === 0) {
  console.error(`e2e: no case is called ${wanted.join(' ')}; there are: ${names.map(file => file.replace('.test.js', '')).join(', ')}`)
  process.exit(2)
}

const dir = mkdtempSync(join(tmpdir(), 'cloakroom-e2e-'))
let status = 1
try {
  const binary = process.env.E2E_GATEWAY ?? join(dir, 'cloakroom')
  if (!process.env.E2E_GATEWAY) {
    execFileSync('go', ['build', '-o', binary, './cmd/cloakroom'], { cwd: join(here, '..'), stdio: 'inherit' })
  }
  const { ca, home } = makeCA(dir)
  const env = {
    ...process.env,
    E2E_RUN: dir,
    E2E_GATEWAY: binary,
    HOME: home, // a throw-away one: its certificate database trusts the test CA
    NODE_EXTRA_CA_CERTS: ca,
    SSL_CERT_FILE: ca, // for the gateway
  }
  const concurrency = process.env.E2E_CONCURRENCY ?? '3'
  const args = ['--test', `--test-concurrency=${concurrency}`, '--test-timeout=180000', '--test-reporter=spec', ...cases]
  status = spawnSync(process.execPath, args, { cwd: here, env, stdio: 'inherit' }).status ?? 1
} finally {
  if (process.env.E2E_KEEP) console.log(`kept ${dir}`)
  else rmSync(dir, { recursive: true, force: true })
}
process.exitCode = status
