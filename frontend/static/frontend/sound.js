// Two soft notes for a new incident, made here. A browser that has not been touched refuses to play: then it says so.

const button = document.getElementById("sound");
let context = null;

function ready() {
  return context?.state === "running";
}

function show() {
  button.hidden = ready();
}

function note(frequency_hz, start_s, length_s) {
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  const at = context.currentTime + start_s;
  oscillator.frequency.value = frequency_hz;
  gain.gain.setValueAtTime(0.0001, at);
  gain.gain.exponentialRampToValueAtTime(0.25, at + 0.02);
  gain.gain.exponentialRampToValueAtTime(0.0001, at + length_s);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(at);
  oscillator.stop(at + length_s);
}

/** Plays, or shows that it may not. */
export function chime() {
  document.body.dataset.chimes = String(Number(document.body.dataset.chimes ?? 0) + 1);
  if (!ready()) { show(); return; }
  note(659.26, 0, 0.35);
  note(880, 0.18, 0.5);
}

async function wake() {
  try {
    context ??= new AudioContext();
    if (context.state !== "running") await Promise.race([context.resume(), new Promise((done) => setTimeout(done, 400))]);
  } catch { /* no sound device: the button stays */ }
  show();
}

button.addEventListener("click", async () => { await wake(); chime(); });
document.addEventListener("pointerdown", () => { if (!ready()) wake(); }, { capture: true });
document.addEventListener("keydown", () => { if (!ready()) wake(); }, { capture: true });
// Asked for before any gesture, an AudioContext only earns a warning, and tells whether sound is allowed.
wake();
