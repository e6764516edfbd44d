// The API, as a team would write it: GraphQL by Apollo Server, access tokens verified with jose against the provider's keys. It takes
// them as the delivery of this run brings them, and in no other way. Beside it some plain routes, and a few that behave as awkwardly
// as upstreams do.
import { ApolloServer, HeaderMap } from '@apollo/server'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { WebSocketServer } from 'ws'
import { pair, tokenOf } from './pair.js'
import { resource } from './provider.js'
import { close, listen, tls } from './run.js'

const typeDefs = `#graphql
  type Person { sub: ID! }
  type Note { text: String!, by: ID! }
  type Query { me: Person!, notes: [Note!]! }
  type Mutation { addNote(text: String!): Note! }
`

/**
 * Starts an API that takes access tokens of issuer: behind the gateway, or, with the front end's `app` and the `domain` of the
 * token cookies, on the sibling host api.app.test, where the browser calls it without the gateway.
 */
export async function startAPI({ issuer, app, domain }) {
  const notes = []
  const seen = [] // { method, path, headers, sub }, in order
  const gates = new Map()
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))

  const graphql = new ApolloServer({
    typeDefs,
    resolvers: {
      Query: { me: (_, __, { sub }) => ({ sub }), notes: () => notes },
      Mutation: { addNote: (_, { text }, { sub }) => (notes.push({ text, by: sub }), notes.at(-1)) },
    },
    stopOnTerminationSignals: false,
  })
  await graphql.start()

  const routes = {
    'POST /api/graphql': (req, res, sub) => answerGraphQL(graphql, req, res, sub),
    'GET /api/notes': (req, res) => json(res, { notes }),
    'POST /api/notes': async (req, res, sub) => {
      notes.push({ text: JSON.parse(await readText(req)).text, by: sub })
      json(res, notes.at(-1), 201)
    },
    'GET /api/whoami': (req, res, sub) => json(res, { sub }),
    'POST /api/upload': async (req, res) => json(res, await describeUpload(req)),
    'POST /api/form': async (req, res, sub) => {
      notes.push({ text: (await readForm(req)).get('text'), by: sub })
      res.writeHead(303, { location: '/site/notes' }).end()
    },
    // Answers once the test lets it.
    'GET /api/slow': async (req, res, sub) => { await gates.get('/api/slow'); json(res, { sub, slow: true }) },
    'GET /api/early': (req, res, sub) => {
      res.writeEarlyHints({ link: '</app.js>; rel=modulepreload' })
      json(res, { sub, early: true })
    },
    'GET /api/sse': (req, res, sub) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.write(`data: hello ${sub}\n\n`)
      streams.add(res)
      res.on('close', () => streams.delete(res))
    },
    // Claims that anyone may keep its answer, cookie included.
    'GET /api/cacheable': (req, res, sub) => {
      res.setHeader('cache-control', 'public, max-age=3600')
      res.setHeader('set-cookie', ['theme=dark; Path=/', '__Host-Http-session=upstream; Path=/; Secure; HttpOnly'])
      json(res, { sub })
    },
    // The server-rendered site: the same bearer, HTML instead of JSON.
    'GET /site/notes': (req, res, sub) => sitePage(req, res, sub, notes),
    'POST /site/notes': async (req, res, sub) => {
      notes.push({ text: (await readForm(req)).get('text'), by: sub })
      res.writeHead(303, { location: '/site/notes' }).end()
    },
  }

  const streams = new Set()
  const answer = async (req, res) => {
    const path = new URL(req.url, 'http://api').pathname
    if (app && share(req, res, app)) return
    const sub = await whoCalls(req, { keys, issuer, domain })
    seen.push({ method: req.method, path, headers: req.headers, sub })
    // A token in a cookie comes along whoever asks: an API that takes one has to look who does.
    if (app && pair.inCookies && req.method !== 'GET' && req.headers.origin !== app) return json(res, { error: 'cross_site' }, 403)
    if (!sub) {
      res.setHeader('www-authenticate', 'Bearer error="invalid_token"')
      return json(res, { error: 'invalid_token' }, 401)
    }
    const route = routes[`${req.method} ${path}`]
    if (!route) return json(res, { error: 'not found' }, 404)
    await Promise.resolve(route(req, res, sub)).catch(() => res.destroy()) // the caller has gone
  }
  const server = app ? createSecureServer(tls, answer) : createServer(answer)
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', async (req, socket, head) => {
    if (!await whoCalls(req, { keys, issuer, domain })) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
    sockets.handleUpgrade(req, socket, head, ws => ws.on('message', text => ws.send(`echo ${text}`)))
  })
  const port = await listen(server)
  const origin = app ? `https://api.app.test:${port}` : `http://127.0.0.1:${port}`

  return {
    origin,
    notes,
    seen,
    streams,
    count: path => seen.filter(entry => entry.path === path).length,
    /** Holds the answers of path until the function it returns is called. */
    hold(path) {
      let release
      gates.set(path, new Promise(open => { release = () => { gates.delete(path); open() } }))
      return release
    },
    async close() {
      for (const ws of sockets.clients) ws.terminate()
      await close(server)
      await graphql.stop()
    },
  }
}

// CORS for the one front end. It reports whether that was all.
function share(req, res, app) {
  res.setHeader('vary', 'Origin')
  if (req.headers.origin !== app) return false
  res.setHeader('access-control-allow-origin', app)
  res.setHeader('access-control-allow-credentials', 'true')
  if (req.method !== 'OPTIONS') return false
  res.writeHead(204, { 'access-control-allow-headers': 'content-type, x-csrf-token, authorization', 'access-control-allow-methods': 'GET, POST' }).end()
  return true
}

async function whoCalls(req, { keys, issuer, domain }) {
  const token = tokenIn(req.headers, domain)
  if (!token) return undefined
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience: resource, typ: 'at+jwt' })
    return payload.sub
  } catch {
    return undefined
  }
}

// A token that comes in two ways, or a cookie that is there twice, is none: somebody else may have put it there.
function tokenIn({ authorization = '', cookie = '' }, domain) {
  const bearer = /^Bearer (\S+)$/.exec(authorization)?.[1]
  if (!pair.inCookies) return bearer
  const cookies = cookie.split('; ').map(text => ({ name: text.slice(0, text.indexOf('=')), value: text.slice(text.indexOf('=') + 1) }))
  const names = cookies.map(({ name }) => name)
  return authorization || new Set(names).size !== names.length ? undefined : tokenOf(cookies, domain)
}

async function answerGraphQL(graphql, req, res, sub) {
  const headers = new HeaderMap()
  for (const [name, value] of Object.entries(req.headers)) headers.set(name, String(value))
  const answer = await graphql.executeHTTPGraphQLRequest({
    httpGraphQLRequest: { method: req.method, headers, search: '', body: JSON.parse(await readText(req)) },
    context: async () => ({ sub }),
  })
  res.writeHead(answer.status ?? 200, Object.fromEntries(answer.headers))
  res.end(answer.body.string)
}

async function describeUpload(req) {
  const form = await new Response(req, { headers: { 'content-type': req.headers['content-type'] } }).formData()
  const file = form.get('file')
  return { title: form.get('title'), name: file.name, size: file.size, text: (await file.text()).slice(0, 20) }
}

function sitePage(req, res, sub, notes) {
  const items = notes.map(note => `<li>${note.text.replace(/[&<]/g, '')}</li>`).join('')
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  res.end(`<!doctype html><meta charset="utf-8"><title>Notes</title><h1>Notes of ${sub}</h1><p id="header">${req.headers['x-user'] ?? ''}</p>
    <ul>${items}</ul><form method="post" action="/site/notes"><input name="text"><button>Add</button></form>`)
}

function json(res, value, status = 200) {
  res.writeHead(status, { 'content-type': 'application/json' })
  res.end(JSON.stringify(value))
}

async function readText(req) {
  let text = ''
  for await (const chunk of req) text += chunk
  return text
}

const readForm = async req => new URLSearchParams(await readText(req))
