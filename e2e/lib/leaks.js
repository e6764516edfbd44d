// Looks for tokens wherever a browser or a file could keep one.
import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { pair } from './pair.js'
import { client, issued } from './provider.js'

/** What must not be in a log beside tokens: value → kind. */
export const secrets = new Map([[client.secret, 'client secret']])

/** Fails if a log or a file of the gateway holds a token, a ticket, or anything else that opens something (G1, S3). */
export function assertNoSecret(text, where) {
  assertNoToken(text, where)
  for (const [value, kind] of secrets) {
    const at = text.indexOf(value)
    if (at >= 0) assert.fail(`${kind} in ${where}: …${text.slice(Math.max(0, at - 120), at)}[here]`)
  }
}

/** Fails if text holds a token, but where allowed(kind, what stands before it) says that it belongs. where says what text is. */
export function assertNoToken(text, where, allowed = () => false) {
  for (const [value, kind] of issued) {
    for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
      const before = text.slice(Math.max(0, at - 400), at)
      if (!allowed(kind, before)) assert.fail(`${kind} in ${where}: …${before.slice(-120)}[here]`)
    }
  }
}

/**
 * Where the delivery of this run has the access token in the browser: nowhere, in its cookies, or in the answer to POST token, or
 * to a login by JSON, and the bearers to the API. With split the token is nowhere in one piece, and the signature only in its own cookie. A refresh token
 * is nowhere in any.
 */
const delivered = {
  proxy: () => false,
  cookie: (kind, before) => kind === 'AccessToken' && inCookie('access_token', before),
  split: (kind, before) => kind === 'Signature' && inCookie('access_token.sig', before),
  memory: (kind, before) => kind === 'AccessToken' && /((?:\{|"delivery":"memory",)"access_token":"|[Aa]uthorization: Bearer )$/.test(before),
}[pair.delivery]

// In a header, or where Chromium notes that it keeps a cookie.
const inCookie = (name, before) => /__(?:Host-Http|Secure)-([\w.]+)(?:=|"[^{}]*,"value":")$/.exec(before)?.[1] === name

/**
 * Fails if Chromium's network log holds a token that the delivery does not put there: in a URL, a header or a body, in either
 * direction, on whatever connection. One is allowed, because the standard has no other way: the ID token in the redirect to the
 * provider's end_session endpoint, or in the form in place of a long one (OpenID Connect RP-Initiated Logout 1.0, §2). Returns how many
 * bytes were searched.
 */
export async function assertNoTokenOnTheWire(log) {
  const bodies = new Map() // stream → bytes so far; a token may be cut by a read
  let searched = 0
  for await (const line of createInterface({ input: createReadStream(log), crlfDelay: Infinity })) {
    const bytes = /"bytes":"([^"]*)"/.exec(line)
    if (bytes) {
      const source = /"source":\{"id":(\d+).*"type":(\d+)\},?$/.exec(line).slice(1).join() // connection or request, and event
      bodies.set(source, (bodies.get(source) ?? '') + Buffer.from(bytes[1], 'base64').toString('latin1'))
    } else {
      searched += line.length
      assertNoToken(line, 'a URL or header of the browser', (kind, before) => belongs(kind, before, line))
    }
  }
  for (const text of bodies.values()) {
    searched += text.length
    assertNoToken(text, 'what the browser sent or received', (kind, before) => belongs(kind, before, text))
  }
  return searched
}

const belongs = (kind, before, text) => delivered(kind, before) ||
  kind === 'IDToken' && (text.includes('/session/end?') || /\bid_token_hint(=|" value=")$/.test(before))
