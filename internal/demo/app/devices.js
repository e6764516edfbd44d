import { element } from "./element.js";

const list = document.getElementById("devices");
const text = document.getElementById("devices-text");

/** Shows where the person is signed in, and lets them end each of it. */
export function startDevices(client, { failed }) {
  async function load() {
    const answer = await client.fetch("/auth/sessions").catch(() => undefined);
    if (answer?.status === 404) { // sealed
      text.textContent = "Sealed sessions rest in their browsers alone, so nobody can list them. Signing out everywhere ends them all the same.";
      list.replaceChildren();
      return;
    }
    if (!answer?.ok) return;
    text.textContent = "Sign in from another browser, or in a private window, and end that session here.";
    const { sessions } = await answer.json();
    list.replaceChildren(...sessions.map(row));
  }

  function row({ id, browser, system, created, last_seen, current }, at) {
    const name = `device-${at}`;
    const button = element("button", { class: "second", "aria-describedby": name }, "Sign out");
    button.addEventListener("click", () => void end(id, button));
    return element("li", {},
      element("p", { id: name }, element("b", {}, browser === "unknown" ? "Unknown device" : `${browser} on ${system}`), " ",
        element("span", { class: "soft" }, current ? "this device" : `used at ${time(last_seen)}`, `, signed in at ${time(created)}`)),
      ...(current ? [] : [button]));
  }

  async function end(id, button) {
    button.disabled = true;
    const answer = await client.fetch(`/auth/sessions/${id}`, { method: "DELETE" }).catch(() => undefined);
    if (!answer || !answer.ok && answer.status !== 404) failed(); // 404: it is over already
    await load();
  }

  return { load };
}

const time = (at) => new Date(at).toLocaleTimeString();
