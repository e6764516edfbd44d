// The demonstration with its laboratory, over https and under names of which the attacker has some.
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { freePort, run, until } from './run.js'

/** Starts `cloakroom demo` for the time of a case. `host` is the app's, `sibling` and `foreign` are the attacker's. */
export async function startDemo(t, { host = 'app.shop.test', sibling = 'evil.shop.test', foreign = 'evil.test', accounts = false } = {}) {
  const port = await freePort()
  const url = `https://${host}:${port}`
  const args = ['demo', '--listen', `127.0.0.1:${port}`, '--dir', mkdtempSync(join(run.dir, 'demo-')), '--url', url,
    '--tls-cert', run.cert, '--tls-key', run.key, ...accounts ? ['--accounts'] : ['--lab-sibling', sibling, '--lab-foreign', foreign]]
  const child = spawn(run.binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { output += text })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill) // a runner that gives up leaves nothing behind
  const exited = new Promise(resolve => child.once('exit', resolve))
  t.after(async () => {
    child.kill('SIGTERM')
    const killer = setTimeout(kill, 15_000)
    await exited
    clearTimeout(killer)
    process.off('exit', kill)
  })
  await until('the demonstration to answer', () => {
    if (child.exitCode !== null) throw new Error(`the demonstration ended with status ${child.exitCode}:\n${output}`)
    return output.includes(url)
  })
  return { url, output: () => output, ask: (path, body) => ask(new URL(path, url), body) }
}

/** Asks the demonstration itself, as its own page would; with a body it is a POST. */
function ask({ host, hostname, port, pathname, search }, body) {
  const headers = { host, 'sec-fetch-site': 'same-origin' }
  const options = { host: '127.0.0.1', port, path: pathname + search, method: body ? 'POST' : 'GET', servername: hostname, headers }
  return new Promise((resolve, reject) => {
    const req = request(options, async res => {
      let text = ''
      for await (const chunk of res) text += chunk
      if (res.statusCode === 200) resolve(JSON.parse(text))
      else reject(new Error(`${pathname}: ${res.statusCode} ${text}`))
    })
    req.on('error', reject)
    req.end(body && JSON.stringify(body))
  })
}
