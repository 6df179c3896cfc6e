// Shows a page as it is now: when told that something changed, it is fetched and put in the old one's place.
// Without this file, or where it cannot connect, pages show what was when they were opened.
"use strict";
(() => {
  const mark = document.getElementById("live");
  let wait = 1000, socket = null;

  function says(text) { if (mark) mark.textContent = text; }

  async function renew() {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["nav", "main"]) {
      const [old, now] = [document.querySelector(part), page.querySelector(part)];
      // What somebody is about to press or has written stays until it is done.
      if (old && now && !old.contains(document.activeElement) && old.innerHTML !== now.innerHTML) {
        old.replaceWith(now);
      }
    }
  }

  function connect() {
    if (document.hidden || socket) return;
    const url = new URL("/live", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("page", location.pathname);
    socket = new WebSocket(url);
    // What changed while nobody listened.
    socket.onopen = () => { wait = 1000; says("live"); renew().catch(() => {}); };
    socket.onmessage = () => { renew().catch(() => {}); };
    socket.onclose = () => {
      socket = null;
      says("");
      // Not all pages of all browsers at one moment.
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 60000);
    };
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden && socket) socket.close();
    else connect();
  });
  connect();
})();
