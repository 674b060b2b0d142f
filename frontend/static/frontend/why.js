// Another camera has other rules and perhaps another clock: the form is fetched anew for it, nothing is asked yet.

const camera = document.getElementById("why-camera");

camera?.addEventListener("change", () => { location.search = new URLSearchParams({ camera: camera.value }); });
