// As much of W3C WebDriver as the WebKit case needs: WebKitWebDriver on a virtual display.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, run, until } from './run.js'

const elementKey = 'element-6066-11e4-a52e-4f735466cecf'

/** Starts WebKitGTK's MiniBrowser and returns a way to drive it. */
export async function startWebKit(t) {
  const env = { ...process.env, HOME: run.home, WEBKIT_DISABLE_COMPOSITING_MODE: '1', LIBGL_ALWAYS_SOFTWARE: '1' }
  const start = (command, args) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
    child.once('error', err => { throw new Error(`${command}: ${err.message}; scripts/install.sh installs it`) })
    t.after(() => child.kill())
    return child
  }
  const screen = start('Xvfb', ['-displayfd', '3', '-screen', '0', '1024x768x24', '-nolisten', 'tcp'])
  env.DISPLAY = `:${await once(screen.stdio[3], 'data').then(String).then(text => text.trim())}` // it takes a free one
  const port = await freePort()
  start(process.env.WEBKIT_DRIVER ?? 'WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'])

  const base = `http://127.0.0.1:${port}`
  const call = async (method, path, body) => {
    const answer = await fetch(base + path, { method, body: body && JSON.stringify(body) })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`)
    return value
  }
  await until('WebKitWebDriver', () => call('GET', '/status').catch(() => false))

  const capabilities = {
    alwaysMatch: {
      acceptInsecureCerts: true, // WebKitGTK takes no certificate of our own from a profile
      'webkitgtk:browserOptions': { binary: process.env.MINIBROWSER ?? miniBrowser(), args: ['--automation'] },
    },
  }
  const { sessionId } = await call('POST', '/session', { capabilities })
  const session = `/session/${sessionId}`
  t.after(() => call('DELETE', session).catch(() => {}))

  const find = css => call('POST', `${session}/element`, { using: 'css selector', value: css }).then(found => found[elementKey])
  return {
    goto: url => call('POST', `${session}/url`, { url }),
    fill: async (css, text) => call('POST', `${session}/element/${await find(css)}/value`, { text }),
    click: async css => call('POST', `${session}/element/${await find(css)}/click`, {}),
    evaluate: (script, ...args) => call('POST', `${session}/execute/sync`, { script: `return ${script}`, args }),
    evaluateAsync: script => call('POST', `${session}/execute/async`, { script: `const done = arguments[0]; ${script}`, args: [] }),
    cookies: () => call('GET', `${session}/cookie`),
    shows: (css, text) => until(`${css} to say ${text}`, () => find(css)
      .then(element => call('GET', `${session}/element/${element}/text`)).then(seen => seen === text).catch(() => false)),
  }
}

// Debian keeps MiniBrowser beside WebKit's other processes, in a folder named for the machine and the interface version.
function miniBrowser() {
  for (const machine of readdirSync('/usr/lib')) {
    for (const version of ['webkit2gtk-4.1', 'webkit2gtk-4.0', 'webkitgtk-6.0']) {
      const file = join('/usr/lib', machine, version, 'MiniBrowser')
      if (existsSync(file)) return file
    }
  }
  throw new Error('MiniBrowser is missing; scripts/install.sh installs it')
}
