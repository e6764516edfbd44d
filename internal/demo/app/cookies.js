import { element } from "./element.js";

const list = document.getElementById("cookies");
const script = document.getElementById("script-cookies");

/** Shows the cookies as the gateway describes them, beside what script sees of them. */
export async function showCookies() {
  const response = await fetch("/demo/cookies").catch(() => undefined);
  if (!response?.ok) return;
  const { cookies } = await response.json();
  list.replaceChildren(...cookies.map(describe));
  if (cookies.length === 0) list.append(element("li", { class: "none" }, "No cookie at all. There is one once you sign in."));
  const seen = document.cookie;
  const ours = cookies.filter(({ name, readable }) => readable && seen.includes(`${name}=`));
  script.replaceChildren(
    element("strong", {}, seen === "" ? '""' : seen.length > 400 ? `${seen.slice(0, 400)}…` : seen),
    seen === "" ? "Nothing. There is nothing here to steal."
    : ours.some(({ name }) => name.endsWith("access_token")) ? "The claims of the access token, as the delivery “split” has it. The signature is not here."
    : "Not from the gateway: its cookies are HttpOnly.",
  );
}

function describe({ name, bytes, purpose, attributes }) {
  const marks = (attributes ?? []).map((text) => element("span", { class: text === "HttpOnly" ? "mark" : "mark plain" }, text));
  return element("li", {},
    element("p", { class: "cookie-name" }, name),
    element("p", { class: "purpose" }, purpose),
    element("p", { class: "marks" }, ...marks, element("span", { class: "mark plain" }, `${bytes} bytes`)),
  );
}
