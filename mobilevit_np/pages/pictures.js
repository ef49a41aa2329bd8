"use strict";
// Two tensors and their difference, drawn from the bytes in the page: see golden/pictures.py for what they are.

const STEPS = 254, NOT_FINITE = 255;
const ASCENDING = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"];
const BOTH_WAYS = { // no difference fades into the page
  light: ["#123f7a", "#4d8ac4", "#f6f6f4", "#e58a3c", "#8c2b08"],
  dark: ["#9fd0ff", "#3d78b4", "#181b20", "#b3581c", "#ffb672"],
};
const darkness = matchMedia("(prefers-color-scheme: dark)");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A name that may go on in the next line after a dot or an underscore.
function breakable(name) {
  return name.split(/(?<=[._/])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function shades(stops) {
  const channels = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: STEPS + 1 }, (_, code) => {
    const place = (code / STEPS) * (stops.length - 1), left = Math.min(Math.floor(place), stops.length - 2);
    return channels[left].map((from, i) => Math.round(from + (place - left) * (channels[left + 1][i] - from)));
  });
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A color for each code. Bars of one tensor have one color: their length says the rest.
function shadesFor(which, bars) {
  const plain = (name) => Array(2).fill(variable(name));
  const stops = which === 2 ? BOTH_WAYS[darkness.matches ? "dark" : "light"] : bars ? plain("--accent") : ASCENDING;
  return [...shades(stops), shades(plain("--undefined"))[0]];
}

function drawImage(canvas, codes, [height, width], colors) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  codes.forEach((code, i) => image.data.set([...colors[code], 255], 4 * i));
  context.putImageData(image, 0, 0);
}

// Bars stand on nought where the scale has it, else on its lower end.
function drawBars(canvas, codes, [low, high], colors, height = 150) {
  const wide = Math.max(1, Math.round(900 / codes.length)), gap = wide > 4 ? 1 : 0;
  canvas.width = wide * codes.length;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const nought = high > low ? Math.min(1, Math.max(0, -low / (high - low))) : low === 0 ? 0.5 : 0;
  const y = (share) => Math.round((1 - share) * (height - 2)) + 1;
  codes.forEach((code, i) => {
    const undefinedHere = code === NOT_FINITE, top = undefinedHere ? 1 : code / STEPS;
    context.fillStyle = `rgb(${colors[code].join(",")})`;
    const from = Math.min(y(top), y(undefinedHere ? 0 : nought)), to = Math.max(y(top), y(undefinedHere ? 0 : nought));
    context.fillRect(i * wide, from, Math.max(1, wide - gap), Math.max(1, to - from));
  });
  context.fillStyle = variable("--soft");
  context.fillRect(0, y(nought), canvas.width, 1);
}

function valueOf(code, [low, high]) {
  return code === NOT_FINITE ? "not finite" : `≈ ${short(low + (code / STEPS) * (high - low))}`;
}

function short(value) {
  const size = Math.abs(value);
  return value === 0 ? "0" : size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

function scaleBar(which, [low, high], bars) {
  if (bars) return element("div", { class: "scale" }, `from ${short(low)} to ${short(high)}`);
  const bar = element("canvas", { "aria-hidden": "true" });
  drawImage(bar, Uint8Array.from({ length: STEPS + 1 }, (_, i) => i), [1, STEPS + 1], shadesFor(which));
  return element("div", { class: "scale" }, short(low), bar, short(high));
}

// The three pictures of one slice, with a ring round the element that's furthest off.
function slicePictures(picture, slice, sides) {
  const range = [[slice.low, slice.high], [slice.low, slice.high], [-slice.span, slice.span]];
  const codes = slice.bytes.map(bytesOf), [height, width] = picture.shape, [row, column] = slice.mark;
  const bars = picture.kind === "bars", box = element("div", { class: `pictures ${picture.kind}` });
  const names = [...sides, "difference"], frames = [];
  names.forEach((name, which) => {
    const canvas = element("canvas", {
      role: "img",
      "aria-label": `${name}, ${slice.label}: from ${short(range[which][0])} to ${short(range[which][1])}`,
    });
    const mark = element("div", { class: "mark" });
    mark.style.left = `${((column + 0.5) / width) * 100}%`;
    mark.style.top = `${(bars ? 1 - Math.min(1, codes[which][column] / STEPS) : (row + 0.5) / height) * 100}%`;
    const frame = element("div", { class: "frame" }, canvas, mark);
    frame.style.aspectRatio = bars ? "6" : String(Math.min(3, Math.max(1 / 2, picture.size[1] / picture.size[0])));
    if (bars) drawBars(canvas, codes[which], range[which], shadesFor(which, true));
    else drawImage(canvas, codes[which], picture.shape, shadesFor(which));
    frames.push(frame);
    box.append(element("figure", {}, element("figcaption", {}, name), frame, scaleBar(which, range[which], bars)));
  });
  const readout = element("p", { class: "readout" });
  pointAt(frames, readout, picture, codes, range, sides);
  return [box, readout];
}

// Where the pointer is, all three pictures are marked, and their values are written out.
function pointAt(frames, readout, picture, codes, range, sides) {
  const [height, width] = picture.shape, bars = picture.kind === "bars";
  const marks = frames.map((frame) => frame.appendChild(element("div", { class: "at", hidden: "" })));
  const rest = () => {
    marks.forEach((mark) => (mark.hidden = true));
    readout.textContent = "The ring is round the element that’s furthest off. Point at a picture to read values.";
  };
  const move = (event) => {
    const at = event.currentTarget.getBoundingClientRect();
    const x = Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - at.left) / at.width) * width)));
    const y = Math.min(height - 1, Math.max(0, Math.floor(((event.clientY - at.top) / at.height) * height)));
    marks.forEach((mark) => {
      Object.assign(mark.style, {
        left: `${(x / width) * 100}%`, top: `${(y / height) * 100}%`, width: `${100 / width}%`, height: `${100 / height}%`,
      });
      mark.hidden = false;
    });
    const values = codes.map((each, which) => valueOf(each[y * width + x], range[which]));
    const place = bars ? span("element", x, picture, 1) : `${span("row", y, picture, 0)}, ${span("column", x, picture, 1)}`;
    readout.replaceChildren(element("b", {}, place), `: ${sides[0]} ${values[0]}, port ${values[1]}, difference (port − ${sides[0]}) ${values[2]}`);
  };
  for (const frame of frames) {
    frame.addEventListener("pointermove", move);
    frame.addEventListener("pointerdown", move);
    frame.addEventListener("pointerleave", rest);
  }
  rest();
}

function span(name, at, picture, axis) {
  const step = picture.steps[axis], first = at * step, last = Math.min(first + step, picture.size[axis]) - 1;
  return last > first ? `${name}s ${first} to ${last}` : `${name} ${first}`;
}

// What was left out, in words.
function thinning(picture) {
  const [down, across] = picture.steps, notes = [];
  if (picture.slices.length < picture.of) {
    notes.push(`Kept: the ${picture.slices.length} of ${picture.of} ${picture.names} that are furthest off.`);
  }
  if (down * across > 1) {
    const block = picture.kind === "bars" ? `${across} elements` : `${down} × ${across} elements`;
    notes.push(`Thinned: each point stands for up to ${block}, and shows the one of them that’s furthest off.`);
  }
  return notes;
}

// Chips for the slices, and the pictures of the chosen one.
function pictureChooser(picture, sides) {
  const place = element("div"), chips = element("fieldset", { class: "chips" });
  chips.append(element("legend", {}, `Furthest off first, with the largest error in each (${picture.caption})`));
  const show = (slice) => {
    const notes = [];
    if (slice.beyond) notes.push(`${slice.beyond} of the port’s values lie beyond the scale and are drawn as its end.`);
    const undefinedHere = slice.undefined.reduce((a, b) => a + b);
    place.replaceChildren(...slicePictures(picture, slice, sides));
    if (undefinedHere) {
      place.append(element("p", { class: "note" }, element("span", { class: "undefined" }, "■ not a number, or infinite: "),
        `${slice.undefined[0]} in the reference, ${slice.undefined[1]} in the port.`));
    }
    for (const note of notes) place.append(element("p", { class: "note" }, note));
    place.redraw = () => show(slice);
  };
  picture.slices.forEach((slice, i) => {
    const radio = element("input", { type: "radio", name: "slice", ...(i ? {} : { checked: "" }) });
    radio.addEventListener("change", () => show(slice));
    chips.append(element("label", {}, radio, element("span", {}, `${slice.label} `, element("small", {}, slice.error))));
  });
  show(picture.slices[0]);
  darkness.onchange = () => place.redraw();
  return picture.slices.length > 1 ? [chips, place] : [place];
}
