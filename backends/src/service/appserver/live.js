// Shows a page as it is now: when told that something changed, it is fetched and put in the old one's place.
// Without this file, or where it cannot connect, pages show what was when they were opened.
"use strict";
(() => {
  const mark = document.getElementById("live");
  let wait = 1000, retry = 0, socket = null, soon = 0, busy = false, again = false, late = false;

  function says(text) { if (mark) mark.textContent = text; }

  // Is somebody at work there: about to press, writing, with something chosen or unfolded?
  function used(part) {
    const chosen = list => Math.max(0, [...list.options].findIndex(one => one.defaultSelected));
    return part.contains(document.activeElement)
      || part.matches("details[open]") || part.querySelector("details[open]") !== null
      || [...part.querySelectorAll("input:not([type=hidden]), textarea")].some(one => one.value !== one.defaultValue)
      || [...part.querySelectorAll("select")].some(one => one.selectedIndex !== chosen(one));
  }

  // What is used stays as it is until that is done, and what stands around it is renewed. A table or a form is one thing: a
  // button of a row must not stand beside another row's name.
  function replace(old, now) {
    if (old.outerHTML === now.outerHTML) return;
    if (!used(old)) {
      old.replaceWith(now);
      return;
    }
    late = true;
    if (!old.matches("nav, main, section, div")) return;
    const inUse = [...old.children].filter(used);
    if (inUse.length === 0) old.replaceChildren(...now.childNodes);
    if (inUse.length !== 1) return;
    const [kept] = inUse;
    const kin = parent => [...parent.children].filter(one => one.tagName === kept.tagName && one.className === kept.className);
    const mate = kin(now)[kin(old).indexOf(kept)];
    if (!mate) return;
    // It is not moved, for what is moved loses the focus.
    const nodes = [...now.childNodes], at = nodes.indexOf(mate);
    while (kept.previousSibling) kept.previousSibling.remove();
    while (kept.nextSibling) kept.nextSibling.remove();
    kept.before(...nodes.slice(0, at));
    kept.after(...nodes.slice(at + 1));
    replace(kept, mate);
  }

  async function fetchOnce() {
    const answer = await fetch(location.href);
    // A worker or the database is away: it comes back without anybody telling so.
    clearTimeout(retry);
    if (answer.status >= 500) retry = setTimeout(renew, 5000 * (0.8 + Math.random() * 0.6));
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    late = false;
    document.title = page.title;
    for (const part of ["body > nav", "main"]) {
      const [old, now] = [document.querySelector(part), page.querySelector(part)];
      if (old && now) replace(old, now);
    }
  }

  // One after the other, so that what was fetched first is not shown last.
  async function renew() {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      await fetchOnce().catch(() => {});
    }
    busy = false;
  }

  // Told of a change. All who look at a page are told at one moment: they do not come at one moment, and once for all that is
  // told meanwhile.
  function told() {
    soon ||= setTimeout(() => { soon = 0; renew(); }, Math.random() * 500);
  }

  function connect() {
    if (document.hidden || socket) return;
    const url = new URL("/live", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("page", location.pathname);
    socket = new WebSocket(url);
    // What changed while nobody listened.
    socket.onopen = () => { wait = 1000; says("live"); renew(); };
    socket.onmessage = told;
    socket.onclose = () => {
      socket = null;
      says("");
      // Not all pages of all browsers at one moment.
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 60000);
    };
  }

  // The focus is where it goes only after this.
  document.addEventListener("focusout", () => setTimeout(() => { if (late) renew(); }));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && socket) socket.close();
    else connect();
  });
  connect();
})();
