// A browser starts no worker on a page opened as a file (file://), and the theme's search is one.
// There, run the worker's script in a hidden frame of the page instead: same script, same messages.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      const start = () => {
        document.body.append(frame)
        const inside = frame.contentWindow
        inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        const script = inside.document.createElement("script")
        script.src = url
        script.onload = () => {
          this.inside = inside
          this.waiting.forEach(data => this.postMessage(data))
        }
        script.onerror = () => this.dispatchEvent(new Event("error"))
        inside.document.body.append(script)
      }
      if (document.body) start()
      else document.addEventListener("DOMContentLoaded", start)
    }

    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
  }
  window.Worker = window.IFrameWorker
}
