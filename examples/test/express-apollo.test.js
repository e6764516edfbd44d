// The API of express-apollo on a sibling host, beside the real gateway: what a page's client does there, and what others get.
import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import { execFileSync } from 'node:child_process'
import { close, freePort, listen, run, tls } from '../../e2e/lib/run.js'
import { resource } from '../../e2e/lib/provider.js'
import { enter, expire, openChromium, test } from '../../e2e/lib/stage.js'
import { createAPI } from '../express-apollo/server.js'

test('express-apollo: the cookies and the CSRF token of a gateway on another host', async t => {
  const port = await freePort()
  const api = `https://sibling.app.test:${port}`
  const stage = await openChromium(t, {
    accessTTL: 12,
    config: { tokens: { delivery: 'split', domain: 'app.test' }, csrf: 'token' },
    page: { csp: `default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ${api}` },
  })
  const csrfKey = execFileSync(run.binary, ['keys', 'csrf', '--config', stage.gateway.config], { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim()
  const app = await createAPI({ issuer: stage.op.issuer, audience: resource, jwks: `${stage.op.issuer}/jwks`, gateway: stage.app, shared: true, csrfKey })
  const seen = []
  const server = createServer(tls, (req, res) => {
    res.on('finish', () => seen.push(`${req.method} ${res.statusCode}`))
    app(req, res)
  })
  await listen(server, port)
  t.after(() => close(server))

  const page = await stage.tab('/auth/login')
  await enter(page, 'ann')
  await page.waitForURL(`${stage.app}/`)
  /** Asks the API by the client, or by fetch alone. */
  const ask = (query, plain) => page.evaluate(async ([api, query, plain]) => {
    const { createClient } = await import('/auth/client.js')
    window.client ??= createClient({ origins: [api] })
    await window.client.session()
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) }
    const res = await (plain ? fetch(`${api}/graphql`, { ...init, credentials: 'include' }) : window.client.fetch(`${api}/graphql`, init))
    return { status: res.status, data: (await res.json()).data }
  }, [api, query, plain])

  assert.deepEqual(await ask('{ me }'), { status: 200, data: { me: 'ann' } })
  assert.deepEqual(await ask('mutation { addNote(text: "hello") { by } }'), { status: 200, data: { addNote: { by: 'ann' } } })
  assert.equal((await ask('{ me }', true)).status, 403, 'a write without the CSRF token')

  // The token ends, and with it its cookies. The client renews at the gateway and comes again.
  await expire(page)
  seen.length = 0
  assert.deepEqual(await ask('{ me }'), { status: 200, data: { me: 'ann' } })
  assert.deepEqual(seen.filter(line => line.startsWith('POST')), ['POST 401', 'POST 200'])
})
