// The column of blocks, and what is shown of the chosen one.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("blocks"), detail = document.getElementById("detail");
  const blocks = [...list.querySelectorAll(".block")];
  const filter = document.getElementById("filter"), only = document.getElementById("only");
  const narrow = matchMedia("(max-width: 60rem)"), still = matchMedia("(prefers-reduced-motion: reduce)");
  let chosen = -1;

  const shown = () => blocks.map((_, i) => i).filter((i) => !blocks[i].hidden);
  const isOff = (i) => data.tensors[i].state === "off";

  function step(by, wanted = () => true) { // from the chosen block to the next that's shown and wanted; -1 if none
    const places = shown().filter((i) => wanted(i) && (by > 0 ? i > chosen : i < chosen));
    if (!places.length) return -1;
    return by > 0 ? places[Math.min(by, places.length) - 1] : places[Math.max(places.length + by, 0)];
  }

  function intoView(block, middle) {
    const top = block.offsetTop, bottom = top + block.offsetHeight, head = 40;
    if (middle) list.scrollTop = top - list.clientHeight / 3;
    else if (top < list.scrollTop + head) list.scrollTop = top - head;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  function choose(i, { middle = false, down = false } = {}) {
    if (i < 0) return;
    if (blocks[i].hidden) {
      filter.value = "";
      only.checked = false;
      sift();
    }
    if (chosen >= 0) blocks[chosen].setAttribute("aria-selected", "false");
    chosen = i;
    blocks[i].setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", blocks[i].id);
    intoView(blocks[i], middle);
    show(data.tensors[i]);
    document.getElementById("said").textContent = `${data.tensors[i].path}: ${data.tensors[i].status}`;
    if (down && narrow.matches) detail.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
  }

  // -- what is shown ----------------------------------------------------------------------------------------------

  function button(label, to, hint) {
    const made = element("button", { type: "button", title: hint }, label);
    made.disabled = to < 0;
    made.addEventListener("click", () => choose(to));
    return made;
  }

  function table(rows, heads) {
    const body = rows.map(([name, ...values]) =>
      element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", {}, ...(heads.length ? [value] : breakable(value))))));
    const made = element("table", {});
    if (heads.length > 1) {
      const cells = heads.map((head) => element("th", { scope: "col" }, head));
      made.append(element("thead", {}, element("tr", {}, element("td"), ...cells)));
    }
    made.append(element("tbody", {}, ...body));
    return made;
  }

  function panel(title, ...children) {
    return element("div", { class: "panel" }, element("h3", {}, title), ...children);
  }

  function show(tensor) {
    const up = button("↑ the network", chosen, "Back to the column");
    up.className = "up";
    up.addEventListener("click", () => document.querySelector(".network").scrollIntoView());
    const nav = element("nav", { "aria-label": "Other tensors" }, up,
      button("← previous", step(-1), "Arrow up"), button("next →", step(1), "Arrow down"),
      button("← off", step(-1, isOff), "The previous that is off: p"), button("off →", step(1, isOff), "The next that is off: n"));
    const parts = [nav, element("h2", {}, ...breakable(tensor.path)), element("p", { class: `status ${tensor.state}`, id: "status" }, tensor.status)];
    if (tensor.picture) parts.push(pictured(tensor.picture));
    const numbers = tensor.state === "missing" && data.columns.length < 2 ? [] : [panel("Numbers", table(tensor.numbers, data.columns))];
    numbers[0]?.setAttribute("id", "numbers");
    parts.push(element("div", { class: "two-up" }, ...numbers, panel("Tensor", table(tensor.about, []))));
    detail.replaceChildren(...parts);
  }

  function pictured(picture) {
    const off = `${picture.off} of ${picture.of} ${picture.names} ${picture.off === 1 ? "has" : "have"} an element off by more than is allowed.`;
    const notes = [...(data.about ? [data.about] : []), ...(picture.of > 1 ? [off] : []), ...thinning(picture)];
    if (!picture.slices.length) notes.push("The trace is too large for pictures of every tensor: trace fewer (--only, --depth) to see them.");
    const chooser = picture.slices.length ? pictureChooser(picture, data.sides) : [];
    const made = panel("Pictures", ...chooser, ...notes.map((note) => element("p", { class: "note" }, note)));
    made.id = "pictures";
    return made;
  }

  // -- filter, strip, keys ----------------------------------------------------------------------------------------

  function sift() {
    const wanted = filter.value.trim().toLowerCase();
    blocks.forEach((block, i) => {
      const named = block.dataset.path.toLowerCase().includes(wanted);
      block.hidden = !named || (only.checked && !isOff(i));
    });
    for (const stage of list.querySelectorAll(".stage")) stage.hidden = !stage.querySelector(".block:not([hidden])");
    const count = shown().length;
    document.getElementById("count").textContent = count < blocks.length ? `${count} of ${blocks.length}` : "";
  }

  function fillStrip() {
    const strip = document.getElementById("strip");
    strip.append(...blocks.map((block) => {
      const color = [...block.querySelector(".cell").classList].find((name) => /^b\d$/.test(name));
      return element("span", color ? { class: color } : {});
    }));
    strip.addEventListener("click", (event) => {
      const box = strip.getBoundingClientRect();
      const share = (event.clientY - box.top) / box.height;
      choose(Math.min(blocks.length - 1, Math.max(0, Math.floor(share * blocks.length))), { middle: true });
    });
  }

  const KEYS = {
    ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(10), PageUp: () => step(-10),
    Home: () => shown()[0] ?? -1, End: () => shown().at(-1) ?? -1,
  };
  list.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(KEYS[event.key]());
  });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input[type=search]")) return;
    if (event.key === "n") choose(step(1, isOff));
    if (event.key === "p") choose(step(-1, isOff));
    if (event.key === "/") {
      event.preventDefault();
      filter.focus();
    }
  });
  list.addEventListener("click", (event) => {
    const block = event.target.closest(".block");
    if (block) choose(Number(block.dataset.index), { down: true });
  });
  for (const link of document.querySelectorAll("[data-go]")) {
    link.addEventListener("click", () => choose(Number(link.dataset.go), { middle: true, down: true }));
  }
  filter.addEventListener("input", sift);
  only.addEventListener("change", sift);
  fillStrip();
  choose(data.start, { middle: true });
})();
