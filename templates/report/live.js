"use strict";
(() => {
  const form = document.getElementById("controls");
  const told = document.getElementById("told");
  const main = document.querySelector("main");
  const written = new Map([...form.querySelectorAll("output")].map((output) => [output, output.textContent]));
  const touched = new Set();
  let busy = false;
  let again = false;
  const asked = () => {
    const found = { roles: {} };
    const { gpu, count } = form.elements;
    if (gpu.value) Object.assign(found, { gpu: gpu.value, count: count.valueAsNumber });
    for (const part of form.querySelectorAll("fieldset[data-role]")) {
      const own = {};
      for (const range of part.querySelectorAll("input[type=range]")) if (touched.has(range)) own[range.name] = range.valueAsNumber;
      const cache = part.querySelector("select");
      if (cache.value !== "fleet") own.cache = cache.value;
      if (Object.keys(own).length) found.roles[part.dataset.role] = own;
    }
    return found;
  };
  const ask = async () => {
    if (busy) { again = true; return; }
    busy = true;
    form.setAttribute("aria-busy", "true");
    do {
      again = false;
      told.textContent = "Solving …";
      try {
        const reply = await fetch("answer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked()) });
        const answer = await reply.json();
        if (answer.problem) { told.textContent = answer.problem; continue; }
        main.innerHTML = answer.html;
        report.show(answer.data);
        told.textContent = answer.told;
      } catch {
        told.textContent = "The planner does not answer; is it still running?";
      }
    } while (again);
    busy = false;
    form.setAttribute("aria-busy", "false");
  };
  let soon;
  const later = () => { clearTimeout(soon); soon = setTimeout(ask, 100); };
  form.addEventListener("input", ({ target }) => {
    touched.add(target);
    const output = target.labels[0].querySelector("output");
    if (output) output.textContent = target.valueAsNumber.toLocaleString("en") + (target.name === "context" ? " tokens" : "");
    if (target.name !== "count" || form.elements.gpu.value) later();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    touched.clear();
    written.forEach((text, output) => { output.textContent = text; });
    setTimeout(ask, 0);
  });
})();
