const $ = (id) => document.getElementById(id);

// What each word means, in a sentence.
const said = {
  store: "Sessions rest in a store at the gateway; the browser has a ticket.",
  sealed: "Sessions rest in the browser itself, sealed in cookies; there is no store to run.",
  proxy: "Only the gateway has the access token.",
  cookie: "The browser has the access token, in a cookie that script cannot read.",
  split: "Script can read the token's claims; the signature is in a cookie that it cannot read.",
  memory: "The page asks for the access token and keeps it in a variable.",
  origin: "A request proves that it was meant by where it comes from.",
  header: "Beside that it brings a header that no foreign page can add.",
  token: "Beside that it brings a token that is made for its session.",
};

// Where the access token is, as the countdown tells it.
export const whereabouts = {
  proxy: "It lives at the gateway. All the page knows is when it ends.",
  cookie: "It lies in a cookie of this browser. All the page knows is when it ends.",
  split: "It lies in two cookies of this browser. The page can read its claims.",
  memory: "The page has it in a variable, and asks for the next one when it is over.",
};

/** Shows what the gateway is set to, and lets the person change it. */
export async function startMode({ changed, failed }) {
  const selects = ["storage", "delivery", "csrf"].map($);

  function show(mode) {
    for (const select of selects) select.value = mode[select.id];
    $("laboratory").hidden = !mode.laboratory;
    document.documentElement.dataset.people = mode.accounts ? "accounts" : "provider";
    $("mode-text").textContent = selects.map(({ value }) => said[value]).join(" ");
    $("mode-flags").textContent = `cloakroom demo${mode.accounts ? " --accounts" : ""} --storage ${mode.storage} --delivery ${mode.delivery} --csrf ${mode.csrf}`;
  }

  async function ask(init) {
    const response = await fetch("/demo/mode", init);
    if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
    show(await response.json());
  }

  for (const select of selects) {
    select.addEventListener("change", async () => {
      for (const one of selects) one.disabled = true;
      try {
        await ask({ method: "POST", body: JSON.stringify({ [select.id]: select.value }) });
        await changed();
      } catch {
        failed();
        await ask().catch(() => {});
      } finally {
        for (const one of selects) one.disabled = false;
        select.focus();
      }
    });
  }
  await ask().catch(failed);
}
