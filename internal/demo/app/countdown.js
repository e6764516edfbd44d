const ring = document.getElementById("ring");
const number = document.getElementById("ring-text");
const text = document.getElementById("life-text");
const count = document.getElementById("renewals");

/** Shows how long the access token lives. */
export class Countdown {
  #ends;
  #whole = 30;
  #renewals = 0;
  #where;

  constructor() {
    setInterval(() => this.#draw(), 200);
  }

  /** Takes when the token ends, as the gateway says it, undefined for no token; and where it is, in a sentence. */
  set(ends, where) {
    this.#where = where;
    const at = ends ? Date.parse(ends) : undefined;
    if (at && at !== this.#ends) this.#whole = Math.max(this.#whole, (at - Date.now()) / 1000);
    this.#ends = at;
    this.#draw();
  }

  /** Counts a renewal. */
  renewed() {
    count.textContent = String(++this.#renewals);
  }

  /** The seconds that are left, 0 when the token is over. */
  left() {
    return this.#ends ? Math.max(0, (this.#ends - Date.now()) / 1000) : 0;
  }

  #draw() {
    if (!this.#ends) return;
    const left = this.left();
    const share = Math.min(1, left / this.#whole);
    ring.style.strokeDashoffset = String(100 - 100 * share);
    ring.classList.toggle("low", share > 0 && share < 0.2);
    ring.classList.toggle("over", left === 0);
    number.textContent = String(Math.ceil(left));
    text.textContent =
      left === 0 ? "Over. The next call will have it renewed first."
      : share < 0.2 ? "Nearly over: the next call renews it early."
      : this.#where;
  }
}
