// Asks again and again for what is new, and for nothing while nobody looks.

const EVERY = 1000;

// ask() gives an address; take(answer) does something with what comes, and says how many milliseconds to wait, null
// for no more; fail(text) tells that nothing came, with null that all is well again.
export function poll(ask, take, fail) {
  let timer = null, busy = false, over = false;

  async function once() {
    timer = null;
    if (busy || over || document.hidden) return;
    busy = true;
    let wait = EVERY;
    try {
      const answer = await fetch(ask(), { headers: { Accept: "application/json" } });
      if (answer.status === 403) {
        over = true;
        fail("The dashboard has been started anew: open the address that it printed.");
      } else if (!answer.ok) {
        throw new Error(`the dashboard answered ${answer.status}`);
      } else {
        const told = await answer.json();
        fail(told.fault);
        const asked = take(told);
        if (asked === null) over = true;
        wait = asked ?? EVERY;
      }
    } catch (error) {
      fail(`Nothing new has come: ${error.message}. Trying again.`);
      wait = 5 * EVERY;
    }
    busy = false;
    if (!over && !document.hidden && timer === null) timer = setTimeout(once, wait);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      timer = null;
    } else if (timer === null) {
      once();
    }
  });
  once();
}
