// What run.js made before the cases started: folders, certificates, the gateway's binary.
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

const dir = process.env.E2E_RUN
if (!dir) throw new Error('start the cases with `npm test`, or some of them with `npm test -- login tabs`')

process.setMaxListeners(0) // every browser and gateway of a case ends with the process

// The provider says at every start that it is not set up for production. It is not.
for (const level of ['info', 'warn']) {
  const say = console[level]
  console[level] = (...words) => {
    if (!String(words[0]).includes('oidc-provider')) say(...words)
  }
}

export const run = {
  dir,
  binary: process.env.E2E_GATEWAY,
  ca: join(dir, 'ca.pem'),
  cert: join(dir, 'server.pem'),
  key: join(dir, 'server.key'),
  home: join(dir, 'home'),
}

/** What node:https needs to serve with the run's certificate. */
export const tls = { cert: readFileSync(run.cert), key: readFileSync(run.key) }

/** Starts server on a free loopback port and returns the port. */
export function listen(server, port = 0) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server.address().port))
  })
}

/**
 * A free port, for a process that must be told one. It lies below those that the system hands out by itself, so that nobody
 * gets it by chance before that process takes it.
 */
export async function freePort() {
  for (;;) {
    const server = createServer()
    try {
      const port = await listen(server, randomInt(20_000, 30_000))
      await close(server)
      return port
    } catch (err) {
      if (err.code !== 'EADDRINUSE') throw err
    }
  }
}

/** Stops server and whoever is connected to it. */
export function close(server) {
  return new Promise(closed => {
    server.close(closed)
    server.closeAllConnections?.()
  })
}

/** Waits until condition() gives something true, and returns it. The suite's only way to wait for what sends no signal. */
export async function until(what, condition, { within = 10_000, every = 25 } = {}) {
  const end = Date.now() + within
  for (;;) {
    const result = await condition()
    if (result) return result
    if (Date.now() > end) throw new Error(`waited ${within} ms in vain for: ${what}`)
    await new Promise(wake => setTimeout(wake, every))
  }
}
