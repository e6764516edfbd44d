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
};

travel(new URLSearchParams(location.search).get("at") ?? "foreign", {
  "form-cross/0": attempts.form,
  "form-same/0": attempts.form,
  "fetch-cross/0": attempts.fetch,
  "fetch-same/0": attempts.fetch,
});
