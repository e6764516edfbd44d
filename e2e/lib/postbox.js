// A mail server on this machine, which keeps what it gets (RFC 5321). The gateway sends to such a one without TLS.
import { createServer } from 'node:net'
import { close, listen, until } from './run.js'

/** Starts a mail server; it ends with the case. `config` is what accounts need to send to it. */
export async function startPostbox(t) {
  const letters = []
  const server = createServer(socket => {
    let text = '', inside = false
    const say = line => socket.write(`${line}\r\n`)
    socket.on('error', () => {})
    socket.on('data', more => {
      text += more.toString('latin1')
      for (;;) {
        const end = text.indexOf(inside ? '\r\n.\r\n' : '\r\n')
        if (end < 0) return
        const said = text.slice(0, end)
        text = text.slice(end + (inside ? 5 : 2))
        if (inside) {
          letters.push(read(said))
          inside = false
          say('250 taken')
          continue
        }
        const verb = said.slice(0, 4).toUpperCase()
        inside = verb === 'DATA'
        say(inside ? '354 go on' : verb === 'QUIT' ? '221 bye' : '250 yes')
      }
    })
    say('220 postbox')
  })
  const port = await listen(server)
  t.after(() => close(server))
  return {
    config: { mail: { smtp: `127.0.0.1:${port}`, from: 'Example <no-reply@example.com>' } },
    /** The oldest letter that was not looked at yet: { to, subject, link, code }, the last two where it has them. */
    next: async () => {
      await until('a letter', () => letters.length > 0)
      return letters.shift()
    },
  }
}

function read(source) {
  const header = name => source.match(new RegExp(`^${name}: (.*)$`, 'im'))?.[1].trim()
  const text = source.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
  return { to: header('To'), subject: header('Subject'), link: text.match(/https:\/\/\S+[?#]token=[\w-]+/)?.[0], code: text.match(/^\d{6}\r?$/m)?.[0].trim() }
}
