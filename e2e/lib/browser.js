// Debian's Chromium in a throw-away HOME, with its own record of everything it sent and received.
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { run } from './run.js'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'

// The first window of a profile would also load the pages behind its address bar: two more renderers, for a bar that nobody types into.
const args = [
  '--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup',
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--host-resolver-rules=MAP *.test 127.0.0.1, EXCLUDE 127.0.0.1, EXCLUDE localhost, MAP * ~NOTFOUND',
]
const launch = log => ({
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args: [...args, `--log-net-log=${log}`, '--net-log-capture-mode=Everything'],
  // People's browsers have a back/forward cache; playwright's would not.
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
  env: { ...process.env, HOME: run.home },
})

/** Starts a browser. Each context of it is a person's profile of its own. */
export async function startBrowser() {
  const log = join(mkdtempSync(join(run.dir, 'chromium-')), 'netlog.json')
  return { browser: await chromium.launch(launch(log)), log }
}

/** Starts a browser that keeps its profile in a folder, as people's browsers do. */
export async function startProfile(folder) {
  const log = join(mkdtempSync(join(run.dir, 'chromium-')), 'netlog.json')
  return { context: await chromium.launchPersistentContext(folder, launch(log)), log }
}
