/** Light, dark, or as the system is: kept in this browser. */
import { signal } from "@preact/signals"

export const themes = ["auto", "light", "dark"] as const
export type Theme = (typeof themes)[number]

const kept = (): Theme => {
  const theme = localStorage.getItem("theme")
  return theme === "light" || theme === "dark" ? theme : "auto"
}

export const theme = signal<Theme>(kept())
const system = matchMedia("(prefers-color-scheme: dark)")
/** Counts up when colours change: what is drawn on a canvas must be drawn anew. */
export const repaint = signal(0)

const show = (): void => {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"]
  else document.documentElement.dataset["theme"] = theme.value
  repaint.value++
}

export const choose = (next: Theme): void => {
  theme.value = next
  localStorage.setItem("theme", next)
  show()
}

system.addEventListener("change", show)
show()

/** A colour of the style sheet as it is now. */
export const colour = (name: string): string => {
  const probe = document.createElement("span")
  probe.style.color = `var(--${name})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
