// Firefox over WebDriver BiDi, with a profile that trusts the run's CA.
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import puppeteer from 'puppeteer-core'
import { trust } from './ca.js'
import { run } from './run.js'

/** Starts a browser for the time of a case. names are hosts that lead to this machine. */
export async function startFirefox(t, ...names) {
  const profile = mkdtempSync(join(run.dir, 'firefox-'))
  trust(profile, run.ca)
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: { 'network.dns.localDomains': names.join(','), 'network.proxy.type': 0 },
    env: { ...process.env, HOME: run.home },
  })
  t.after(() => browser.close())
  return browser
}
