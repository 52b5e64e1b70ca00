import{t as e}from"./use-B-E1CZkg.js";import{F as t,M as n,V as r,n as i}from"./index-DALXpd62.js";function a(){let a=e(`status/config`);return t(r,{children:[t(`div`,{class:`page-head`,children:[t(`h1`,{children:`Configuration`}),t(`span`,{class:`spacer`}),a.answer&&t(i,{text:()=>a.answer?.data.yaml??``})]}),t(n,{of:a,children:({yaml:e})=>t(`div`,{class:`card`,children:t(`pre`,{class:`code`,tabIndex:0,children:o(e)})})})]})}function o(e){return e.split(`
`).map((e,n)=>{let r=/^(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)$/.exec(e);return/^\s*#/.test(e)?t(`span`,{class:`muted`,children:[e,`
`]},n):r?t(`span`,{children:[r[1],t(`b`,{class:`yaml-key`,children:r[2]}),r[3],r[4],`
`]},n):t(`span`,{children:[e,`
`]},n)})}export{a as default};