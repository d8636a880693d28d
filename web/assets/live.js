// Keeps a page up to date: fetches it again and puts the parts that differ in
// place. Without this script the page reloads itself.
(() => {
  "use strict";
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const state = document.getElementById("live-state");
  const pause = document.getElementById("live-pause");
  const every = Number(main.dataset.live);
  let paused = false, failures = 0, timer = 0, busy = false;

  // Parts are marked by ids. One that holds the focus is left alone until it is
  // let go of, so that nobody loses their place.
  function put(fresh) {
    for (const part of main.querySelectorAll(":scope > [id]")) {
      const other = fresh.getElementById(part.id);
      if (!other || part.isEqualNode(other)) continue;
      if (part.contains(document.activeElement)) continue;
      const left = [...part.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
      part.replaceWith(document.adoptNode(other));
      main.querySelectorAll("#" + CSS.escape(other.id) + " .scroll").forEach((e, i) => { e.scrollLeft = left[i] || 0; });
    }
  }

  async function update() {
    if (busy) return;
    busy = true;
    try {
      const res = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!res.ok) throw new Error(String(res.status));
      const fresh = new DOMParser().parseFromString(await res.text(), "text/html");
      put(fresh);
      failures = 0;
      state.textContent = "";
      if (!fresh.querySelector("main[data-live]")) { // it is over
        pause.hidden = true;
        return;
      }
    } catch {
      failures++;
      state.textContent = "Not reachable; trying again.";
    } finally {
      busy = false;
    }
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(update, Math.min(every * 2 ** Math.min(failures, 4), 60000));
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on updating" : "Pause updates";
    state.textContent = paused ? "Updates are paused." : "";
    if (paused) clearTimeout(timer); else update();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) update(); });
  plan();
})();
