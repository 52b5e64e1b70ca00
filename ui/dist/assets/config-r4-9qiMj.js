import{t as e}from"./use-WUCxB3iM.js";import{H as t,I as n,N as r,n as i}from"./index-CoZ1pMJy.js";function a(){let a=e(`status/config`);return n(t,{children:[n(`div`,{class:`page-head`,children:[n(`h1`,{children:`Configuration`}),n(`span`,{class:`spacer`}),a.answer&&n(i,{text:()=>a.answer?.data.yaml??``})]}),n(r,{of:a,children:({yaml:e})=>n(`div`,{class:`card`,children:n(`pre`,{class:`code`,tabIndex:0,children:o(e)})})})]})}function o(e){return e.split(`
`).map((e,t)=>{let r=/^(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)$/.exec(e);return/^\s*#/.test(e)?n(`span`,{class:`muted`,children:[e,`
`]},t):r?n(`span`,{children:[r[1],n(`b`,{class:`yaml-key`,children:r[2]}),r[3],r[4],`
`]},t):n(`span`,{children:[e,`
`]},t)})}export{a as default};