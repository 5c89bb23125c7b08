/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fetches the page again while somebody looks at it, and takes over what is in it. */
"use strict";

const every = 5000; /* ms; the node's own samples come every ten seconds */
const silent = document.getElementById("silent");

async function renew() {
  if (document.hidden) {
    return;
  }
  try {
    const answer = await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(2 * every) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = page.getElementById("main");
    if (!answer.ok || main === null) {
      throw new Error(answer.statusText);
    }
    document.getElementById("main").replaceWith(document.adoptNode(main));
    document.title = page.title;
    silent.hidden = true;
  } catch {
    silent.hidden = false;
  }
}

async function go() {
  await renew();
  setTimeout(go, every);
}
setTimeout(go, every);
document.addEventListener("visibilitychange", renew);
