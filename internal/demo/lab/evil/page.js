// The attacker's page: what another site, or another host of the app's site, can try with the browser of somebody who is signed in.
import { leaving, travel } from "./tab.js";

document.getElementById("host").textContent = location.host;

const attempts = {
  form: async ({ action, fields }) => {
    const form = Object.assign(document.createElement("form"), { method: "post", action, hidden: true });
    for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement("input"), { name, value }));
    document.body.append(form);
    form.submit();
    return leaving;
  },
  fetch: async ({ write, read, fields }) => {
    const init = { credentials: "include" };
    await fetch(write, { ...init, method: "POST", mode: "no-cors", body: new URLSearchParams(fields) }).catch(() => {});
    const text = await fetch(read, init).then((response) => response.text()).catch(() => "");
    return { text };
  },
  go: async ({ to }) => {
    location.href = to;
    return leaving;
  },
  socket: ({ to }) =>
    new Promise((done) => {
      const socket = new WebSocket(to);
      socket.onmessage = ({ data }) => done({ text: String(data) });
      socket.onerror = socket.onclose = () => done({ text: "" });
      setTimeout(() => done({ text: "" }), 2500);
    }),
  frame: ({ to }) =>
    new Promise((done) => {
      addEventListener("message", ({ data }) => done(data));
      document.body.append(Object.assign(document.createElement("iframe"), { src: to, onload: () => setTimeout(() => done({ shown: false }), 1200) }));
      setTimeout(() => done({ shown: false }), 3000);
    }),
  toss: async ({ cookies, run }) => {
    for (const cookie of cookies) document.cookie = cookie;
    await fetch(`/lab/toss?run=${run}`);
    return {};
  },
};

travel(new URLSearchParams(location.search).get("at") ?? "foreign", {
  "form-cross/0": attempts.form,
  "form-same/0": attempts.form,
  "fetch-cross/0": attempts.fetch,
  "fetch-same/0": attempts.fetch,
  "websocket/0": attempts.socket,
  "websocket/1": attempts.socket,
  "framing/0": attempts.frame,
  "framing/1": attempts.frame,
  "login-csrf/0": attempts.go,
  "toss-cookie/0": attempts.toss,
  "toss-cookie/2": attempts.toss,
});
