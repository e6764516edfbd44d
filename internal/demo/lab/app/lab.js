// The laboratory's page: starts a run, and shows what came of it.
import { element } from "/element.js";

const $ = (id) => document.getElementById(id);
const table = $("table");
const open = new Set(); // attacks whose details are shown
let run = new URLSearchParams(location.search).get("run");
let view;

let text; // of the view, to see that it is another

/** Asks for the table, and says whether it is another than before. */
async function load() {
  const response = await fetch(`/demo/lab/table${run ? `?run=${encodeURIComponent(run)}` : ""}`);
  if (!response.ok) throw new Error(String(response.status));
  const before = text;
  text = await response.text();
  view = JSON.parse(text);
  return text !== before;
}

/** What is known of a cell: as measured here, else as recorded. */
function known(attack, column) {
  const measured = view.measured[column.id]?.[attack.id];
  if (measured) return { ...measured, measured: true, is: measured.is ?? "failed" };
  const end = attack.ends[view.expected[column.id]?.[attack.id]];
  return end ? { ...end, measured: false } : { is: "none", why: "Not measured yet.", measured: false };
}

const words = { blocked: "blocked", partly: "partly", succeeds: "succeeds", failed: "failed", none: "–" };

function cell(attack, column) {
  const { is, why, measured } = known(attack, column);
  const now = view.run && !view.run.done && view.run.column === column.id && view.run.attack === attack.id;
  const made = element("span", { class: `cell ${is}${measured ? " measured" : ""}${now ? " now" : ""}`, title: why }, words[is]);
  return element("td", { class: classes(column), "data-column": column.id, "data-attack": attack.id }, made);
}

const picked = () => $("pick").value;
const classes = (column) => [starts(column) && "first", column.id !== picked() && "off"].filter(Boolean).join(" ");
const starts = ({ id }) => ["local-storage", "store-proxy", "sealed-proxy"].includes(id);

function head() {
  const heading = (column) =>
    element("th", { scope: "col", class: `${classes(column)}${column.id === view.here ? " here" : ""}` },
      ...(column.keep ? column.title.split(/(?=Storage)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part])) : [column.delivery]), ...(column.id === view.here ? [element("span", { class: "hidden" }, " (as it is set)")] : []));
  const kind = (text, span) => element("th", { class: "kind first", colspan: span, scope: "colgroup" }, text);
  return element("thead", {},
    element("tr", {}, element("td", { class: "kind" }), kind("without a gateway", 3), kind("storage: store", 4), kind("storage: sealed", 4)),
    element("tr", {}, element("th", { scope: "col" }, "Attack"), ...view.columns.map(heading)));
}

function details(attack) {
  const rows = view.columns.flatMap((column) => {
    const { is, why, seen, measured } = known(attack, column);
    const hide = column.id === picked() ? "" : "off";
    return [
      element("dt", { class: hide }, column.title, element("span", { class: `cell ${is}${measured ? " measured" : ""}` }, words[is])),
      element("dd", { class: hide }, why, ...(seen ? [element("span", { class: "seen" }, ` Seen: ${seen}`)] : [])),
    ];
  });
  return element("tr", { class: "details", id: `details-${attack.id}` }, element("td", { colspan: view.columns.length + 1 },
    element("p", { class: "does" }, attack.does),
    element("p", { class: "helps" }, element("strong", {}, "What helps: "), attack.helps),
    element("dl", {}, ...rows)));
}

function show() {
  const focused = document.activeElement?.closest?.("[data-row]")?.dataset.row;
  const bodies = [];
  let group;
  for (const attack of view.attacks) {
    if (attack.group !== group) {
      group = attack.group;
      bodies.push(element("tbody", {}, element("tr", {}, element("th", { class: "group", colspan: view.columns.length + 1, scope: "rowgroup" }, group))));
    }
    const button = element("button", { class: "attack", "aria-expanded": String(open.has(attack.id)), "aria-controls": `details-${attack.id}`, "data-row": attack.id }, attack.title);
    bodies.at(-1).append(element("tr", {}, element("th", { scope: "row" }, button), ...view.columns.map((column) => cell(attack, column))));
    if (open.has(attack.id)) bodies.at(-1).append(details(attack));
  }
  table.replaceChildren(head(), ...bodies);
  if (focused) table.querySelector(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
  differences();
}

table.addEventListener("click", ({ target }) => {
  const id = target.closest("[data-row]")?.dataset.row ?? target.closest("[data-attack]")?.dataset.attack;
  if (!id) return;
  if (!open.delete(id)) open.add(id);
  show();
});

/** Over plain http browsers keep fewer promises than over https: what came out otherwise is named. */
function differences() {
  const other = view.attacks.flatMap((attack) => view.columns
    .filter((column) => view.measured[column.id]?.[attack.id]?.is && view.expected[column.id]?.[attack.id])
    .filter((column) => view.measured[column.id][attack.id].is !== attack.ends[view.expected[column.id][attack.id]].is)
    .map((column) => `“${attack.title}” with ${column.title}`));
  $("differs").hidden = other.length === 0;
  $("differs").textContent = other.length === 0 ? "" : `Otherwise than recorded: ${other.join("; ")}. ${
    view.secure ? "Browsers differ." : "This demonstration runs over plain http, where cookies have no prefix that the browser would enforce and ports share them; browsers differ, too."}`;
}

function pick() {
  $("pick").replaceChildren(...view.columns.map(({ id, title, keep }) => element("option", { value: id }, keep ? `${title}, without a gateway` : title)));
  $("pick").value = view.here;
  $("pick").addEventListener("change", show);
}

// A run.

const buttons = [$("measure-here"), $("measure-all")];

async function start(columns) {
  say("");
  for (const button of buttons) button.disabled = true;
  const response = await fetch("/demo/lab/run", { method: "POST", body: JSON.stringify({ columns }) });
  const { run: id, tab, error } = await response.json();
  if (!response.ok) {
    say(error);
    for (const button of buttons) button.disabled = false;
    return;
  }
  run = id;
  history.replaceState(null, "", `?run=${id}`);
  // Where popups are blocked this tab goes itself, and comes back.
  if (!window.open(tab, "cloakroom-laboratory", "popup,width=560,height=680")) {
    location.href = tab;
    return;
  }
  await follow();
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Shows how the run goes on, until it is done. */
async function follow() {
  let left;
  let since = Date.now();
  for (const button of buttons) button.disabled = true;
  $("run").hidden = false;
  for (;;) {
    if (await load()) show();
    const now = view.run;
    if (!now) break;
    if (now.left !== left) [left, since] = [now.left, Date.now()];
    $("progress").max = now.total;
    $("progress").value = now.total - now.left;
    if (now.done) {
      status(`Done: ${now.total} cells measured.`);
      break;
    }
    const attack = view.attacks.find(({ id }) => id === now.attack);
    const column = view.columns.find(({ id }) => id === now.column);
    if (attack && Date.now() - since > 12_000) {
      status("The attacking tab seems to be lost. ", element("a", { href: now.next, target: "_blank" }, "Let it go on"));
    } else {
      status(attack ? `${column.title}: ${attack.title}.` : "Waiting until the copied tickets are old enough …");
    }
    await wait(500);
  }
  for (const button of buttons) button.disabled = false;
}

const status = (...parts) => {
  const text = parts.map((part) => part.textContent ?? part).join("");
  if ($("status").textContent !== text) $("status").replaceChildren(...parts);
};

function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

const baselines = () => view.columns.filter(({ keep }) => keep).map(({ id }) => id);
const failed = () => {
  say("The laboratory cannot be reached. Is the demonstration still running?");
  for (const button of buttons) button.disabled = false;
};
buttons[0].addEventListener("click", () => start([view.here, ...baselines()]).catch(failed));
buttons[1].addEventListener("click", () => start(view.columns.map(({ id }) => id).reverse()).catch(failed));

try {
  await load();
  pick();
  show();
  if (view.run && !view.run.done) await follow();
} catch {
  failed();
}
