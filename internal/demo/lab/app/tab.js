// The travelling tab: asks its own origin what to try here, tries it, reports what it saw, and goes where it is sent.
const run = new URLSearchParams(location.search).get("run");

async function ask(path, body) {
  const response = await fetch(`/demo/lab/${path}`, { method: "POST", body: JSON.stringify({ run, ...body }) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.status === 204 ? undefined : response.json();
}

/** Travels on from a place, with what can be tried there: functions by the attack's id and the number of the stop. */
export async function travel(at, attempts) {
  for (;;) {
    const told = await ask("next", { at });
    if (told.done) {
      sessionStorage.removeItem("lab");
      close();
      setTimeout(() => location.replace(told.home), 200); // a tab that no script opened stays
      return;
    }
    if (told.go) {
      location.replace(told.go);
      return;
    }
    const attempt = attempts[told.do];
    const seen = attempt ? await attempt(told.with).catch((error) => ({ error: String(error) })) : { error: `${told.do} is not known at ${at}` };
    if (seen === leaving) return;
    await ask("report", { do: told.do, seen });
  }
}

/** What an attempt returns that leaves the page. */
export const leaving = Symbol("leaving");
export { run };
