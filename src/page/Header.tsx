/** The top: whose page this is, whether it is live, a search for one request, and the theme. */
import { connection, workers } from "./Live.ts"
import { go, linkTo } from "./Place.ts"
import { choose, theme, themes } from "./Theme.ts"

const connections = {
  connecting: { mark: "◌", words: "connecting", tone: "warn" },
  live: { mark: "●", words: "live", tone: "good" },
  lost: { mark: "✕", words: "connection lost", tone: "bad" }
} as const

const icon = new URL("./icon.svg", import.meta.url).href

const Search = () => (
  <search>
    <form
      class="search"
      onSubmit={(event) => {
        event.preventDefault()
        const id = new FormData(event.currentTarget).get("id")?.toString().trim() ?? ""
        if (id !== "") go(linkTo("receipts", id))
      }}
    >
      <label class="hidden" for="search">
        Request id
      </label>
      <input id="search" name="id" type="search" placeholder="Request id" autocomplete="off" spellcheck={false} />
      <button type="submit">Why?</button>
    </form>
  </search>
)

export const Header = () => {
  const { mark, tone, words } = connections[connection.value]
  const { host } = location
  return (
    <>
      <header class="top">
        <h1>
          <img src={icon} alt="" width="28" height="28" />
          Warmpath <span class="quiet">{host}</span>
        </h1>
        <p class={`chip ${tone}`} role="status">
          <span aria-hidden="true">{mark}</span> {words}
        </p>
        <Search />
        <fieldset class="themes">
          <legend class="hidden">Theme</legend>
          {themes.map((each) => (
            <label key={each}>
              <input
                type="radio"
                name="theme"
                class="hidden"
                checked={theme.value === each}
                onChange={() => choose(each)}
              />
              <span>{each}</span>
            </label>
          ))}
        </fieldset>
      </header>
      {connection.value === "lost" && (
        <p class="banner" role="alert">
          The router does not answer. What you see is {workers.value.size === 0 ? "empty" : "how it was"}; the page
          comes back by itself when the router does.
        </p>
      )}
    </>
  )
}
