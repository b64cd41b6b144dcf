"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const tip = document.getElementById("tip");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  // -- theme: the system's, until the reader decides ----------------------------------------------
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  const label = () => {
    button.textContent = isDark() ? "Light page" : "Dark page";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  prefersDark.addEventListener("change", label);
  label();

  // -- values at the pointer and at the arrow keys -------------------------------------------------
  const NS = "http://www.w3.org/2000/svg";
  const shape = (svg, name, attributes) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.classList.add("hover");
    svg.append(made);
  };
  const clear = (svg) => svg.querySelectorAll(".hover").forEach((e) => e.remove());

  let speaker = null; // the figure whose values the tip shows

  const say = (svg, at, texts) => {
    if (speaker && speaker !== svg) clear(speaker);
    speaker = svg;
    tip.replaceChildren(
      ...texts.map((text, i) => {
        const line = document.createElement(i ? "div" : "b");
        line.textContent = text;
        return line;
      }),
    );
    const box = svg.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const x = box.left + at[0] * scale;
    const y = box.top + at[1] * scale;
    const width = document.documentElement.clientWidth;
    const left = x + 14 + tip.offsetWidth > width ? x - 14 - tip.offsetWidth : x + 14;
    const most = width - tip.offsetWidth - 4;
    tip.style.left = `${Math.min(Math.max(4, left), Math.max(4, most)) + scrollX}px`;
    tip.style.top = `${Math.max(4, y - tip.offsetHeight - 8) + scrollY}px`;
    tip.classList.add("on");
  };
  const hide = (svg) => {
    clear(svg);
    if (speaker !== svg) return; // another figure has the word
    speaker = null;
    tip.classList.remove("on");
    tip.replaceChildren();
  };

  const show = (svg, data, stop) => {
    clear(svg);
    if (data.mode === "x") {
      shape(svg, "line", { class: "cursor", x1: stop.x, x2: stop.x, y1: 30, y2: 246 });
    }
    for (const [y] of stop.y) shape(svg, "circle", { class: "ring", cx: stop.x, cy: y, r: 5 });
    say(svg, [stop.x, stop.y.length ? stop.y[0][0] : 60], stop.t);
  };
  const showCell = (svg, data, row, column) => {
    clear(svg);
    const [left, top, width, height] = data.box;
    const w = width / data.cols.length;
    const h = height / data.rows.length;
    const at = { x: left + column * w, y: top + row * h };
    shape(svg, "rect", { class: "ring", ...at, width: w, height: h - 1 });
    const texts = [`${data.cols[column]}, ${data.rows[row]}`, `gate ${data.gate[column][row]}`];
    if (data.alpha) texts.push(`alpha ${data.alpha[column][row]}`);
    say(svg, [at.x + w / 2, at.y], texts);
  };

  // The points of a cloud stand in its path: two numbers each.
  const points = (svg) => {
    svg.points ??= (svg.querySelector(".cloud").getAttribute("d").match(/M[^h]+/g) ?? []).map(
      (pair) => pair.slice(1).split(" ").map(Number),
    );
    return svg.points;
  };
  const value = (axis, place) => {
    const v = axis[0] + ((place - axis[2]) / (axis[3] - axis[2])) * (axis[1] - axis[0]);
    return `${axis[4]}: about ${Number(v.toPrecision(3)).toLocaleString("en")}`;
  };
  const nearest = (svg, data, x, y) => {
    let best = null;
    let far = Infinity;
    for (const stop of data.stops) {
      const d =
        data.mode === "x" ? Math.abs(stop.x - x) : Math.hypot(stop.x - x, stop.y[0][0] - y) - 6;
      if (d < far) [best, far] = [stop, d];
    }
    if (data.cloud && far > 3) {
      for (const [px, py] of points(svg)) {
        const d = Math.hypot(px - x, py - y);
        if (d < far) {
          far = d;
          best = { x: px, y: [[py, 6]], t: null };
        }
      }
      if (far > 30) return null;
      best.t ??= ["one of the table", value(data.cloud.x, best.x), value(data.cloud.y, best.y[0][0])];
    }
    return best;
  };

  for (const svg of document.querySelectorAll("svg[data-hover]")) {
    const data = JSON.parse(svg.dataset.hover);
    let at = -1;
    let row = 0;
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale;
      const y = (event.clientY - box.top) * scale;
      if (data.mode === "grid") {
        const [left, top, width, height] = data.box;
        const column = Math.floor(((x - left) / width) * data.cols.length);
        const option = Math.floor(((y - top) / height) * data.rows.length);
        const inside = data.cols[column] !== undefined && data.rows[option] !== undefined;
        return inside ? showCell(svg, data, option, column) : hide(svg);
      }
      const stop = nearest(svg, data, x, y);
      return stop ? show(svg, data, stop) : hide(svg);
    });
    svg.addEventListener("pointerleave", () => hide(svg));
    svg.addEventListener("blur", () => hide(svg));
    svg.addEventListener("keydown", (event) => {
      const count = data.mode === "grid" ? data.cols.length : data.stops.length;
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -count, End: count }[event.key];
      const down = data.mode === "grid" ? { ArrowDown: 1, ArrowUp: -1 }[event.key] : undefined;
      if (event.key === "Escape") return hide(svg);
      if ((step === undefined && down === undefined) || !count) return;
      event.preventDefault();
      at = Math.min(Math.max(at + (step ?? 0), 0), count - 1);
      if (data.mode !== "grid") return show(svg, data, data.stops[at]);
      row = (row + (down ?? 0) + data.rows.length) % data.rows.length;
      return showCell(svg, data, row, at);
    });
  }
})();
