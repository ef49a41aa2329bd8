// Attention under the pointer, and the stages' maps: see explain/page.py for what the data are.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const AMBER = [255, 176, 0], TOP = 5;

  function chips(legend, name, labels, chosen, choose) {
    const box = element("fieldset", { class: "chips" }, element("legend", {}, legend));
    labels.forEach((label, i) => {
      const radio = element("input", { type: "radio", name, ...(i === chosen ? { checked: "" } : {}) });
      radio.addEventListener("change", () => choose(i));
      box.append(element("label", {}, radio, element("span", {}, label)));
    });
    return box;
  }

  const percent = (value) => (value >= 1e-6 ? `${(100 * value).toPrecision(3)}%` : value > 0 ? "< 0.0001%" : "0%");
  const clamp = (value, most) => Math.min(most, Math.max(0, value));

  function put(mark, [row, column], [rows, columns]) { // over one cell of a grid on the photo
    Object.assign(mark.style, {
      top: `${(row / rows) * 100}%`, left: `${(column / columns) * 100}%`,
      height: `${100 / rows}%`, width: `${100 / columns}%`,
    });
    mark.hidden = false;
  }

  // -- attention --------------------------------------------------------------------------------------------------

  const look = at("look"), heat = at("heat"), read = new Map();
  const state = { layer: Math.min(1, data.layers.length - 1), head: 0, held: false, place: [0.5, 0.5] };

  function numbers(layer) { // decoded when they're first asked for
    if (!read.has(layer)) {
      const [queries, keys] = [layer.queries, layer.keys].map((codes) => new Int16Array(bytesOf(codes).buffer));
      read.set(layer, { queries, keys, scale: new Float32Array(bytesOf(layer.scale).buffer) });
    }
    return read.get(layer);
  }

  // Those who can look: every pixel of the map, or one of each patch.
  const finer = (layer) => (layer.places > 1 ? layer.side : 1);
  const lookers = (layer) => layer.patches.map((count) => count * finer(layer));
  const cell = (layer, share) => // of a place on the photo, 0 to 1 down and across
    lookers(layer).map((count, axis) => clamp(Math.floor(share[axis] * count), count - 1));
  const patchOf = (layer, place) => place.map((at) => Math.floor(at / finer(layer)));

  function row(layer, place, head) { // softmax(q k^T / sqrt(d)) of one who looks, by one head
    const { queries, keys, scale } = numbers(layer), [nh, nw] = layer.patches, by = finer(layer);
    const D = scale.length, d = D / layer.heads, [r, c] = patchOf(layer, place);
    const first = ((place[0] % by) * by + (place[1] % by)) * nh * nw; // only pixels of one position look at each other
    const query = (first + r * nw + c) * D;
    const scores = Array.from({ length: nh * nw }, (_, i) => {
      const key = (first + i) * D;
      let score = 0;
      for (let at = head * d; at < (head + 1) * d; at++) score += scale[at] * queries[query + at] * keys[key + at];
      return score;
    });
    const most = scores.reduce((a, b) => Math.max(a, b)), powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  function probabilities(layer, place) { // of the chosen head, or all heads' mean
    if (state.head < layer.heads) return row(layer, place, state.head);
    const rows = Array.from({ length: layer.heads }, (_, head) => row(layer, place, head));
    return rows[0].map((_, i) => rows.reduce((sum, each) => sum + each[i], 0) / layer.heads);
  }

  function paint(values, [rows, columns], most) {
    heat.width = columns;
    heat.height = rows;
    const context = heat.getContext("2d"), image = context.createImageData(columns, rows);
    values.forEach((value, i) => {
      const share = most > 0 ? value / most : 0;
      image.data.set([...AMBER.map((channel) => Math.round(channel * share)), Math.round(255 * (0.5 + 0.3 * share))], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }

  const named = (index, columns) => `row ${Math.floor(index / columns)}, column ${index % columns}`;

  function pixelName(layer, [r, c]) {
    if (layer.places === 1) return "";
    const i = r % layer.side, j = c % layer.side;
    const name = layer.side === 2 ? `${["top", "bottom"][i]} ${["left", "right"][j]} pixel` : `pixel ${i}, ${j}`;
    return `, ${name}`;
  }

  let shown = [];
  function showAttention() {
    const layer = data.layers[state.layer], place = cell(layer, state.place), [nh, nw] = layer.patches;
    const patch = patchOf(layer, place), own = patch[0] * nw + patch[1];
    shown = probabilities(layer, place);
    const order = shown.map((_, i) => i).sort((a, b) => shown[b] - shown[a] || a - b).slice(0, TOP);
    paint(shown, layer.patches, shown[order[0]]);
    put(at("patch"), patch, layer.patches);
    const fine = layer.places > 1;
    if (fine) put(at("pixel"), place, [nh * layer.side, nw * layer.side]);
    at("pixel").hidden = !fine;
    at("said").replaceChildren("The patch in ", element("b", {}, `${named(own, nw)}${pixelName(layer, place)}`),
      ` of ${nh} x ${nw} gathers ${percent(shown[order[0]])} from ${named(order[0], nw)}, ${percent(shown[own])} from itself`,
      state.held ? ". Held: click to let go." : ".");
    at("looks").tBodies[0].replaceChildren(...order.map((i) =>
      element("tr", {}, element("th", { scope: "row" }, named(i, nw)), element("td", {}, percent(shown[i])))));
    const bar = element("canvas", { "aria-hidden": "true" }), context = bar.getContext("2d");
    bar.width = 64;
    bar.height = 1;
    for (let i = 0; i < 64; i++) {
      context.fillStyle = `rgb(${AMBER.map((channel) => Math.round((channel * i) / 63)).join(",")})`;
      context.fillRect(i, 0, 1, 1);
    }
    at("heat-scale").replaceChildren("0%", bar, percent(shown[order[0]]));
  }

  function showKept() {
    const layer = data.layers[state.layer], [nh, nw] = layer.patches, notes = [];
    notes.push(`In ${layer.path}: ${layer.heads} heads, ${nh} x ${nw} patches of ${layer.side} x ${layer.side} pixels of the map. Each pixel looks at its own place in all patches.`);
    notes.push("The page computes the probabilities from queries and keys in 16 bits: about three digits are right.");
    if (layer.places < layer.side ** 2) notes.push("Only the first pixel of each patch is kept.");
    at("kept").replaceChildren(...breakable(notes.join(" ")));
  }

  function showChoices() {
    const heads = [...Array(data.layers[state.layer].heads).keys()].map((head) => `head ${head}`);
    state.head = Math.min(state.head, heads.length);
    at("choices").replaceChildren(
      chips("Layer", "layer", data.layers.map((layer) => layer.title), state.layer, (i) => {
        state.layer = i;
        showKept();
        showAttention();
      }),
      chips("Head", "head", [...heads, "mean of all"], state.head, (i) => {
        state.head = i;
        showAttention();
      }));
  }

  function share(event) {
    const box = look.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  }

  function pointAtOther(event) { // while a patch is held
    const [nh, nw] = data.layers[state.layer].patches, [down, across] = share(event);
    const other = [clamp(Math.floor(down * nh), nh - 1), clamp(Math.floor(across * nw), nw - 1)];
    put(at("under"), other, [nh, nw]);
    at("pointed").textContent = `Under the pointer, ${named(other[0] * nw + other[1], nw)}: ${percent(shown[other[0] * nw + other[1]])}`;
  }

  function letGo() {
    state.held = false;
    at("under").hidden = true;
    at("pointed").textContent = "";
  }

  function chooseAt(event) {
    state.place = share(event);
    showAttention();
  }

  const KEYS = {
    ArrowLeft: ([r, c]) => [r, c - 1], ArrowRight: ([r, c]) => [r, c + 1], ArrowUp: ([r, c]) => [r - 1, c],
    ArrowDown: ([r, c]) => [r + 1, c], Home: () => [0, 0], End: () => [Infinity, Infinity],
  };

  function onKey(event) {
    if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const layer = data.layers[state.layer], counts = lookers(layer);
    const next = KEYS[event.key](cell(layer, state.place)).map((place, axis) => clamp(place, counts[axis] - 1));
    letGo();
    state.place = next.map((place, axis) => (place + 0.5) / counts[axis]);
    showAttention();
  }

  if (data.layers.length) {
    look.addEventListener("pointermove", (event) => (state.held ? pointAtOther(event) : chooseAt(event)));
    look.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") chooseAt(event);
    });
    look.addEventListener("click", (event) => {
      if (event.pointerType !== "mouse") return;
      if (state.held) letGo();
      else state.held = true;
      chooseAt(event);
    });
    look.addEventListener("keydown", onKey);
    showChoices();
    showKept();
    showAttention();
  }

  // -- maps -------------------------------------------------------------------------------------------------------

  const thumbs = at("thumbs");
  let stage = Math.min(3, data.stages.length - 1), channel = 0;

  function picture(one, shape) {
    const canvas = element("canvas", { role: "img", "aria-label": `${one.label}: from ${short(one.low)} to ${short(one.high)}` });
    drawImage(canvas, bytesOf(one.bytes), shape, shadesFor(0));
    return canvas;
  }

  function showChannel() {
    const maps = data.stages[stage], one = maps.channels[channel], codes = bytesOf(one.bytes), [height, width] = maps.shape;
    const canvas = picture(one, maps.shape), said = at("map-said");
    canvas.style.aspectRatio = `${width} / ${height}`;
    const rest = () => (said.textContent = `${maps.title}, ${one.label}. Point at it to read values.`);
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const x = clamp(Math.floor(((event.clientX - box.left) / box.width) * width), width - 1);
      const y = clamp(Math.floor(((event.clientY - box.top) / box.height) * height), height - 1);
      const picture = { steps: [maps.step, maps.step], size: maps.size };
      said.textContent = `${span("row", y, picture, 0)}, ${span("column", x, picture, 1)}: ${valueOf(codes[y * width + x], [one.low, one.high])}`;
    });
    canvas.addEventListener("pointerleave", rest);
    at("map").replaceChildren(canvas);
    at("map-scale").replaceChildren(scaleBar(0, [one.low, one.high], false));
    [...thumbs.children].forEach((thumb, i) => thumb.setAttribute("aria-selected", String(i === channel)));
    thumbs.setAttribute("aria-activedescendant", `c${channel}`);
    rest();
  }

  function showStage() {
    const maps = data.stages[stage], [H, W] = maps.size;
    channel = 0;
    thumbs.replaceChildren(...maps.channels.map((one, i) => {
      const thumb = element("div", { role: "option", id: `c${i}`, "aria-selected": "false" }, picture(one, maps.shape), one.label);
      thumb.addEventListener("click", () => {
        channel = i;
        showChannel();
      });
      return thumb;
    }));
    const notes = [`${maps.of} channels of ${H} x ${W}`, maps.channels.length < maps.of ? `, of which ${maps.channels.length} are kept.` : "."];
    if (maps.step > 1) notes.push(` Each point is the mean of ${maps.step} x ${maps.step} elements.`);
    at("map-kept").textContent = notes.join("");
    showChannel();
  }

  const STEP = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  thumbs.addEventListener("keydown", (event) => {
    if (!(event.key in STEP) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    channel = clamp(channel + STEP[event.key], data.stages[stage].channels.length - 1);
    showChannel();
  });
  at("map-choices").append(chips("Stage", "stage", data.stages.map((each) => each.title), stage, (i) => {
    stage = i;
    showStage();
  }));
  showStage();
})();
