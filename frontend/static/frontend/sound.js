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

/** Sound begins with a person's first touch: an AudioContext made before it stays mute and fills the console. */
function touched() {
  if (!ready() && (navigator.userActivation?.hasBeenActive ?? true)) wake();
}

button.addEventListener("click", async () => { await wake(); chime(); });
for (const gesture of ["pointerdown", "pointerup", "keydown"]) document.addEventListener(gesture, touched, { capture: true });
// A screen that nobody touches may be allowed sound all the same (a kiosk's browser): a file of silence finds out quietly.
new Audio(new URL("silence.wav", import.meta.url)).play().then(wake, show);
