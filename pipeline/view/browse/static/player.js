// The player of one video: frames, flow in colour, as arrows, and its two planes as stored, all on canvas.
//
// Rows come in small batches (pipeline/view/browse/media.py): 4 bytes length of the head, the head as JSON, the pictures.
// The colour of a flow vector comes from a table that the server makes of pipeline/flow/color.py.
"use strict";

const root = document.getElementById("player");
if (root) start(root);

function start(root) {
  const $ = (id) => document.getElementById(id);
  const stored = JSON.parse(root.dataset.player), media = root.dataset.media;
  const main = stored.rgb ? "rgb" : "flow", times = stored[main].pts, last = times.length - 1;
  const BATCH = 16, KEPT_BYTES = 160e6, AHEAD = 40;
  const rows = { rgb: new Map(), flow: new Map() }, asked = { rgb: new Map(), flow: new Map() };
  let now = 0, drawn = -1, playing = false, due = 0, keptBytes = 0, table = null, scale = 1, bound = 1, point = null, shown = 0;
  let size = null, curve = null;

  // which rows belong together

  function nearest(list, time) {
    let low = 0, high = list.length - 1;
    while (low < high) { const mid = (low + high) >> 1; if (list[mid] < time) low = mid + 1; else high = mid; }
    return low > 0 && time - list[low - 1] <= list[low] - time ? low - 1 : low;
  }
  const flowRow = (row) => !stored.flow ? -1 : main === "flow" ? row : nearest(stored.flow.pts, times[row]);

  // fetching

  async function fetchRows(modality, first) {
    const answer = await fetch(`/media/rows?${media}&modality=${modality}&start=${first}&count=${BATCH}`);
    if (!answer.ok) throw new Error((await answer.json()).error || answer.statusText);
    const buffer = await answer.arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let place = 4 + length;
    const parts = head.sizes.map((bytes) => { place += bytes; return new Uint8Array(buffer, place - bytes, bytes); });
    const bitmaps = modality === "rgb"
      ? await Promise.all(parts.map((part) => createImageBitmap(new Blob([part], { type: head.kind })))) : parts;
    bitmaps.forEach((picture, number) => keep(modality, first + number, {
      picture, height: head.height, width: head.width, bound: head.bound, pts: head.pts[number],
      next: head.next_pts ? head.next_pts[number] : null, bytes: head.height * head.width * (modality === "rgb" ? 4 : 2),
    }));
    if (modality === "flow") bound = head.bound;
    return head.sizes.length;
  }

  function keep(modality, row, one) {
    if (rows[modality].has(row)) return;
    rows[modality].set(row, one);
    keptBytes += one.bytes;
    for (const kind of ["rgb", "flow"]) {
      for (const [other, old] of rows[kind]) {
        if (keptBytes < KEPT_BYTES) return;
        const middle = kind === main ? now : flowRow(now);
        if (other < middle - 8 || other > middle + 2 * AHEAD) {
          rows[kind].delete(other);
          keptBytes -= old.bytes;
          if (old.picture.close) old.picture.close();
        }
      }
    }
  }

  function want(modality, row) {
    const count = stored[modality].pts.length;
    if (row < 0 || row >= count || rows[modality].has(row)) return null;
    const first = row;
    for (const [begin, job] of asked[modality]) if (row >= begin && row < begin + job.count) return job.promise;
    const job = { count: BATCH };
    job.promise = fetchRows(modality, first).then((got) => { job.count = got; }, complain).finally(() => {
      asked[modality].delete(first);
      draw();
    });
    asked[modality].set(first, job);
    return job.promise;
  }

  function complain(error) { $("player-fault").hidden = false; $("player-fault").textContent = error.message; pause(); }

  function prefetch() {
    for (const modality of ["rgb", "flow"]) {
      if (!stored[modality] || asked[modality].size > 1) continue;
      const here = modality === main ? now : flowRow(now);
      for (let row = here; row <= Math.min(here + AHEAD, stored[modality].pts.length - 1); row++) {
        if (!rows[modality].has(row)) { want(modality, row); break; }
      }
    }
  }

  const isReady = (row) => (!stored.rgb || rows.rgb.has(row)) && (!stored.flow || rows.flow.has(flowRow(row)));

  // drawing

  function fit(canvas, one) {
    if (canvas.width === one.width && canvas.height === one.height) return;
    canvas.width = one.width;
    canvas.height = one.height;
    canvas.classList.toggle("small", one.width < 200);
  }

  function draw() {
    prefetch();
    if (!isReady(now)) return;
    const frame = stored.rgb ? rows.rgb.get(now) : null, flow = stored.flow ? rows.flow.get(flowRow(now)) : null;
    if (frame) {
      fit($("frame"), frame);
      $("frame").getContext("2d").drawImage(frame.picture, 0, 0);
      size = frame;
    }
    if (flow && table) { drawFlow(flow); size = size || flow; }
    if (drawn !== now) { shown++; drawn = now; root.dataset.shown = shown; }
    root.dataset.row = now;
    drawArrows(flow);
    drawCurve();
    say();
    tellPoint();
  }

  const images = {};
  function pixels(canvas, one) {
    const key = canvas.id;
    if (!images[key] || images[key].width !== one.width || images[key].height !== one.height) images[key] = new ImageData(one.width, one.height);
    return new Uint32Array(images[key].data.buffer);
  }

  function drawFlow(flow) {
    const count = flow.width * flow.height, levels = flow.picture;
    const targets = ["colour", "plane-x", "plane-y"].map($);
    targets.forEach((canvas) => fit(canvas, flow));
    const [colour, planeX, planeY] = targets.map((canvas) => pixels(canvas, flow));
    for (let i = 0; i < count; i++) {
      const x = levels[i], y = levels[count + i];
      colour[i] = table[(y << 8) | x];
      planeX[i] = grey[x];
      planeY[i] = grey[y];
    }
    targets.forEach((canvas) => canvas.getContext("2d").putImageData(images[canvas.id], 0, 0));
  }
  const grey = Uint32Array.from({ length: 256 }, (_, level) => (255 << 24 | level << 16 | level << 8 | level) >>> 0);

  const pixelsOf = (level) => level * 2 * bound / 255 - bound;
  const motionOf = (level) => pixelsOf(level) - bound / 255;

  function drawArrows(flow) {
    const canvas = $("arrows");
    if (!canvas) return;
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (flow && $("show-arrows") && $("show-arrows").checked) {
      const step = 22 * ratio, count = flow.width * flow.height;
      pen.lineWidth = 1.6 * ratio;
      for (const [color, shift] of [["rgba(0,0,0,.65)", ratio], ["#ffe14d", 0]]) {
        pen.strokeStyle = color;
        pen.beginPath();
        for (let top = step / 2; top < canvas.height; top += step) {
          for (let left = step / 2; left < canvas.width; left += step) {
            const place = Math.floor(top / canvas.height * flow.height) * flow.width + Math.floor(left / canvas.width * flow.width);
            const u = motionOf(flow.picture[place]), v = motionOf(flow.picture[count + place]);
            const long = Math.hypot(u, v);
            if (long < Math.max(0.04 * scale, 2.5 * bound / 255)) continue;
            const reach = Math.min(long / scale, 1.4) * step * 0.95, dx = u / long * reach, dy = v / long * reach;
            const x = left + dx + shift, y = top + dy + shift, head = Math.min(reach * 0.4, 5 * ratio), turn = Math.atan2(dy, dx);
            pen.moveTo(left + shift, top + shift);
            pen.lineTo(x, y);
            pen.moveTo(x - head * Math.cos(turn - 0.5), y - head * Math.sin(turn - 0.5));
            pen.lineTo(x, y);
            pen.lineTo(x - head * Math.cos(turn + 0.5), y - head * Math.sin(turn + 0.5));
          }
        }
        pen.stroke();
      }
    }
    if (point && size) {
      const x = (point.x + 0.5) * canvas.width / size.width, y = (point.y + 0.5) * canvas.height / size.height;
      pen.strokeStyle = "#fff";
      pen.lineWidth = ratio;
      pen.strokeRect(x - 4 * ratio, y - 4 * ratio, 8 * ratio, 8 * ratio);
    }
  }

  function say() {
    const flow = stored.flow ? rows.flow.get(flowRow(now)) : null;
    const step = flow && flow.next !== null ? `, flow ${flow.pts.toFixed(3)} to ${flow.next.toFixed(3)} s` : "";
    $("where").textContent = `${now + 1} of ${last + 1} · ${times[now].toFixed(3)} s${step}`;
    $("scrub").value = now;
    $("scrub").setAttribute("aria-valuetext", `frame ${now + 1} of ${last + 1}, ${times[now].toFixed(2)} seconds`);
    for (const box of root.querySelectorAll(".python")) box.querySelector("code").textContent = line(box, [rowOf(box.dataset.modality)]);
  }

  // the value under the pointer

  function tellPoint() {
    if (!point || !size) return;
    const flow = stored.flow ? rows.flow.get(flowRow(now)) : null, words = [`x ${point.x}, y ${point.y}`];
    if (flow) {
      const x = Math.min(Math.floor((point.x + 0.5) * flow.width / size.width), flow.width - 1);
      const y = Math.min(Math.floor((point.y + 0.5) * flow.height / size.height), flow.height - 1);
      const a = flow.picture[y * flow.width + x], b = flow.picture[flow.width * flow.height + y * flow.width + x];
      const u = motionOf(a), v = motionOf(b);
      words.push(a === 128 && b === 128 ? "still" : `${Math.hypot(u, v).toFixed(2)} pixels per step`);
      words.push(`right ${u.toFixed(2)}, down ${v.toFixed(2)} (stored as ${a}, ${b}; one level is ${(2 * bound / 255).toFixed(3)})`);
      if ([a, b].some((level) => level === 0 || level === 255)) words.push("at the bound");
    } else {
      const [r, g, b] = $("frame").getContext("2d").getImageData(point.x, point.y, 1, 1).data;
      words.push(`red ${r}, green ${g}, blue ${b}`);
    }
    $("value").textContent = words.join(" · ");
  }

  for (const canvas of root.querySelectorAll(".screen canvas:not(.over)")) {
    canvas.addEventListener("pointermove", (event) => {
      if (!size) return;
      const box = canvas.getBoundingClientRect();
      const share = (at, from, length) => Math.min(Math.max((at - from) / length, 0), 0.9999);
      point = { x: Math.floor(share(event.clientX, box.left, box.width) * size.width), y: Math.floor(share(event.clientY, box.top, box.height) * size.height) };
      tellPoint();
      drawArrows(stored.flow ? rows.flow.get(flowRow(now)) : null);
    });
  }
  function movePoint(dx, dy) {
    if (!size) return;
    const at = point || { x: size.width >> 1, y: size.height >> 1 };
    point = { x: Math.min(Math.max(at.x + dx, 0), size.width - 1), y: Math.min(Math.max(at.y + dy, 0), size.height - 1) };
    draw();
  }

  // magnitude over time

  async function loadCurve() {
    const answer = await fetch(`/media/magnitude?${media}`);
    if (!answer.ok) { complain(new Error((await answer.json()).error)); return; }
    curve = await answer.json();
    ({ scale, bound } = curve);
    const bytes = new Uint8Array(await (await fetch(`/media/wheel?bound=${bound}&scale=${scale}`)).arrayBuffer());
    table = new Uint32Array(65536);
    for (let i = 0; i < 65536; i++) table[i] = (255 << 24 | bytes[3 * i + 2] << 16 | bytes[3 * i + 1] << 8 | bytes[3 * i]) >>> 0;
    const high = Math.max(...curve.mean, 1e-3);
    curve.high = high;
    $("magnitude-high").textContent = high.toPrecision(2);
    $("magnitude-words").textContent = `${curve.rows.length < stored.flow.pts.length ? `(${curve.rows.length} of ${stored.flow.pts.length} rows) ` : ""}full colour is ${scale} px`;
    $("magnitude").setAttribute("aria-label", `Mean flow over time, from ${Math.min(...curve.mean).toFixed(2)} to ${high.toFixed(2)} pixels per step`);
    drawWheel();
    draw();
  }

  function drawWheel() {
    const canvas = $("wheel"), side = canvas.width, image = new ImageData(side, side), data = new Uint32Array(image.data.buffer);
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
      const u = (x + 0.5) / side * 2 - 1, v = (y + 0.5) / side * 2 - 1;
      const level = (value) => Math.min(Math.max(Math.round((value * scale + bound / 255 + bound) * 255 / (2 * bound)), 0), 255);
      if (Math.hypot(u, v) <= 1) data[y * side + x] = table[level(v * 0.98) << 8 | level(u * 0.98)];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function drawCurve() {
    const canvas = $("magnitude");
    if (!curve || !canvas) return;
    const ratio = window.devicePixelRatio || 1, style = getComputedStyle(root);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const pen = canvas.getContext("2d"), span = Math.max(times[last] - times[0], 1e-6);
    const left = (time) => (time - times[0]) / span * (width - 2 * ratio) + ratio, top = (value) => height - ratio - value / curve.high * (height - 6 * ratio);
    pen.clearRect(0, 0, width, height);
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.lineWidth = ratio;
    pen.strokeRect(0, height - ratio / 2, width, 0);
    pen.strokeStyle = style.getPropertyValue("--s0");
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    curve.seconds.forEach((time, number) => pen[number ? "lineTo" : "moveTo"](left(time), top(curve.mean[number])));
    pen.stroke();
    pen.strokeStyle = style.getPropertyValue("--s1");
    pen.beginPath();
    pen.moveTo(left(times[now]), 0);
    pen.lineTo(left(times[now]), height);
    pen.stroke();
  }

  // moving

  function go(row) {
    now = Math.min(Math.max(row, 0), last);
    due = performance.now() + wait();
    draw();
  }
  function wait() {
    const speed = $("speed").value;
    if (speed.startsWith("fps")) return 1000 / Number(speed.slice(3));
    const step = now < last ? times[now + 1] - times[now] : last > 0 ? times[last] - times[last - 1] : 0.1;
    return Math.max(step, 0.005) * 1000 / Number(speed);
  }
  function tick(at) {
    if (!playing) return;
    if (at >= due - 2 && isReady(now)) {
      const next = now < last ? now + 1 : 0;
      if (isReady(next)) {
        due = Math.max(due + wait(), at - 60);
        now = next;
        draw();
      } else {
        want(main, next);
        if (stored.flow && main === "rgb") want("flow", flowRow(next));
      }
    }
    requestAnimationFrame(tick);
  }
  function play() { playing = true; due = performance.now() + wait(); tell(); requestAnimationFrame(tick); }
  function pause() { playing = false; tell(); }
  function tell() { $("play").textContent = playing ? "Pause" : "Play"; root.dataset.playing = playing; }
  const step = (count) => { pause(); go(now + count); };

  $("scrub").max = last;
  $("scrub").addEventListener("input", () => { pause(); go(Number($("scrub").value)); });
  $("play").addEventListener("click", () => (playing ? pause() : play()));
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  if ($("show-arrows")) $("show-arrows").addEventListener("change", draw);
  if ($("magnitude")) $("magnitude").addEventListener("pointerdown", (event) => {
    const box = $("magnitude").getBoundingClientRect();
    pause();
    go(nearest(times, times[0] + (event.clientX - box.left) / box.width * (times[last] - times[0])));
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, button, a, summary");
    if (event.ctrlKey || event.altKey || event.metaKey || (field && (field.type !== "range" || !event.shiftKey) && !(field.tagName === "BUTTON" && event.key !== " " && event.key !== "Enter"))) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -last, End: last };
    const points = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.shiftKey && points[event.key]) movePoint(...points[event.key]);
    else if (event.key in moves) step(moves[event.key]);
    else if (event.key === " ") (playing ? pause : play)();
    else if (event.key === "a" && $("show-arrows")) { $("show-arrows").checked = !$("show-arrows").checked; draw(); }
    else if (event.key === "+" || event.key === "-") $("speed").selectedIndex = Math.min(Math.max($("speed").selectedIndex + (event.key === "+" ? 1 : -1), 0), 4);
    else return;
    event.preventDefault();
  });
  window.addEventListener("resize", draw);

  // the line of Python

  const rowOf = (modality) => modality === main ? now : flowRow(now);
  const line = (box, list) => `from tdn_data.pipeline.shards.reader import ShardReader; ${box.dataset.line}${list ? `[${list}]` : "None"}).data`;
  for (const box of root.querySelectorAll(".python")) {
    const copy = async (text) => {
      box.querySelector("code").textContent = text;
      try {
        await navigator.clipboard.writeText(text);
        $("copied").textContent = "copied";
      } catch {
        getSelection().selectAllChildren(box.querySelector("code"));
        $("copied").textContent = "selected; copy it with Ctrl-C";
      }
    };
    box.querySelector(".copy-row").addEventListener("click", () => copy(line(box, [rowOf(box.dataset.modality)])));
    box.querySelector(".copy-all").addEventListener("click", () => copy(line(box, null)));
  }

  const steps = times.slice(1).map((time, number) => time - times[number]).sort((a, b) => a - b);
  if (steps.length && steps[steps.length >> 1] > 0.3) $("speed").value = "fps5";
  if (stored.flow) loadCurve().catch(complain);
  draw();
}
