// Lines of the source end where they are full, and paragraphs go on.
export default { html: true, options: { markdown: { breaks: false } } };
